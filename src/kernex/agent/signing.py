"""The agent's hand for keys and signatures: a program that runs for a moment, prints one line of JSON and ends.

Cryptography costs more memory than all the rest of the agent, and is needed once an hour.

``python -m kernex.agent.signing key PATH`` makes the key if there is none; prints `KeyReport`.
``python -m kernex.agent.signing PURPOSE PATH SUBJECT AUDIENCE NONCE`` prints `SignatureReport`.
"""

import sys
from pathlib import Path

import msgspec

from kernex import durable
from kernex.agent.keys import KeyReport, SignatureReport
from kernex.trust.assertion import Purpose, new_private_key, public_key, sign


def main(arguments: list[str]) -> None:
    match arguments:
        case ["key", path]:
            report: KeyReport | SignatureReport = make_key(Path(path))
        case [purpose, path, subject, audience, nonce]:
            private = Path(path).read_bytes()
            report = SignatureReport(sign(private, Purpose[purpose], subject=subject, audience=audience, nonce=nonce))
        case _:
            raise SystemExit(__doc__)
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


def make_key(path: Path) -> KeyReport:
    """The public half of the key in `path`, which is made, durably, if it is not there."""
    if not path.exists():
        durable.write(path, new_private_key(), mode=0o600)
    public = public_key(path.read_bytes())
    return KeyReport(public.pem, public.thumbprint)


if __name__ == "__main__":
    main(sys.argv[1:])
