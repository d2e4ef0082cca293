"""The device's key, as the rest of the agent sees it: something that can sign, behind a child process."""

import stat
import sys
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from kernex.agent import processes
from kernex.agent.output import Excerpt
from kernex.domain.errors import DeniedError, RejectedError, UnavailableError

_PATIENCE_S = 60.0  # a slow device under load needs seconds for the imports alone
_OUTPUT_BYTES = 32 << 10

Report = TypeVar("Report", bound=msgspec.Struct)


class KeyReport(msgspec.Struct):
    """`thumbprint` (RFC 7638) is the key's fingerprint."""

    public_key: str
    thumbprint: str


class SignatureReport(msgspec.Struct):
    """A compact JWS."""

    jws: str


class Key:
    """An Ed25519 key in a file that only its owner may read."""

    def __init__(self, path: Path, mark: str) -> None:
        self._path, self._mark = path, mark

    def public(self) -> KeyReport:
        """The public half; makes the key the first time, and it is durable before anybody hears of it."""
        if self._path.exists():
            self._check()
        return self._ask(KeyReport, "key", str(self._path))

    def prove(self, thumbprint: str, audience: str, nonce: str) -> str:
        """The proof of possession at registration."""
        return self._sign("REGISTRATION", thumbprint, audience, nonce)

    def assert_identity(self, device_id: str, audience: str, nonce: str) -> str:
        """The assertion at login (RFC 7523)."""
        return self._sign("LOGIN", device_id, audience, nonce)

    def _sign(self, purpose: str, subject: str, audience: str, nonce: str) -> str:
        self._check()
        return self._ask(SignatureReport, purpose, str(self._path), subject, audience, nonce).jws

    def _check(self) -> None:
        try:
            mode = stat.S_IMODE(self._path.stat().st_mode)
        except FileNotFoundError:
            raise RejectedError(f"cannot sign: {self._path} is missing; enrol the device") from None
        if mode & 0o077:
            raise DeniedError(f"cannot use {self._path}: others may read it; run chmod 600 {self._path}")

    def _ask(self, report: type[Report], *arguments: str) -> Report:
        for argument in arguments:
            if "\0" in argument:
                raise RejectedError("cannot sign text with a NUL in it")
        argv = [sys.executable, "-m", "kernex.agent.signing", *arguments]
        run = processes.start(argv, cwd=Path("/"), environment=_environment(), mark=processes.new_mark(self._mark))
        printed, complained = Excerpt(_OUTPUT_BYTES), Excerpt(_OUTPUT_BYTES)
        out, err = (pipe.fileno() for pipe in run.outputs)
        deadline = time.monotonic() + _PATIENCE_S
        try:
            processes.attend(
                run, {out: printed.write, err: complained.write}, until=lambda: time.monotonic() >= deadline
            )
        finally:
            processes.end(run, grace_s=0)
        if run.process.returncode != 0:
            raise UnavailableError(f"cannot use the device's key: {complained.last_words(500) or 'no answer'}")
        return msgspec.json.decode(printed.text(), type=report)


def _environment() -> dict[str, str]:
    """Just enough for Python to find itself and this package."""
    return {"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"}
