"""``kernex-agent``: the command line of a device."""

import argparse
import logging
import os
import sys
from pathlib import Path

import msgspec

import kernex
from kernex.agent.apps import Apps
from kernex.agent.state import StateDirectory, default_root
from kernex.domain.errors import DeniedError, KernexError

_EPILOG = """\
first steps:
  kernex-agent enroll https://kernex.example --key kxe_...
                        make this device known (the key comes from: kernex key create)
  kernex-agent run      keep it up to date, until SIGTERM
  kernex-agent status   what is installed, and how the last deployments ended

exit status: 0 ok, 1 error, 2 usage, 3 not allowed
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    try:
        return int(options.command(options, StateDirectory(Path(options.state_dir).absolute())))
    except (KernexError, OSError) as error:
        sys.stderr.write(f"kernex-agent: {error}\n")
        return 3 if isinstance(error, DeniedError) else 1


class _OneLine(logging.Formatter):
    """One line an event, whatever a script printed."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kernex-agent",
        description="Keeps this device on the bundles that its control plane names, and puts the old one back when"
        " a new one does not work.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kernex-agent {kernex.__version__}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    enroll = verbs.add_parser("enroll", help="make this device known to a control plane", description=_enroll.__doc__)
    enroll.add_argument("url", metavar="URL", help="of the control plane, like https://kernex.example")
    enroll.add_argument(
        "--key",
        default=os.environ.get("KERNEX_ENROLMENT_KEY"),
        help="enrolment key, kxe_... (or KERNEX_ENROLMENT_KEY); without one an operator has to approve the device",
    )
    enroll.add_argument("--device-type", help="what kind of device this is, like camera")
    enroll.set_defaults(command=_enroll)

    run = verbs.add_parser("run", help="heartbeat, install, supervise", description=_run.__doc__)
    run.add_argument("--once", action="store_true", help="one heartbeat and what it asks for, then end")
    run.set_defaults(command=_run)

    status = verbs.add_parser("status", help="what is installed here", description=_status.__doc__)
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    status.set_defaults(command=_status)

    pin = verbs.add_parser("pin", help="keep a release whatever is installed later", description=_pin.__doc__)
    unpin = verbs.add_parser("unpin", help="take a pin back", description=_unpin.__doc__)
    for verb, command in ((pin, _pin), (unpin, _unpin)):
        verb.add_argument("name", metavar="NAME", help="of the app")
        verb.add_argument("digest", metavar="DIGEST", help="of the release, or how it begins: see status -o json")
        verb.set_defaults(command=command)

    for verb in (enroll, run, status, pin, unpin):
        verb.add_argument(
            "--state-dir",
            default=os.environ.get("KERNEX_STATE_DIR") or str(default_root()),
            help="where the device keeps its key, journal and releases (or KERNEX_STATE_DIR; default: %(default)s)",
        )
    return parser


def _enroll(options: argparse.Namespace, state: StateDirectory) -> int:
    """Make a key once and register it. Run it again after a failure: it goes on where it stopped."""
    from kernex.agent import enrolment  # noqa: PLC0415 - each command imports what it needs

    sys.stdout.write(enrolment.enroll(state, options.url, options.key, options.device_type))
    return 0


def _run(options: argparse.Namespace, state: StateDirectory) -> int:
    """Run until SIGTERM or SIGINT. Workloads are stopped with the agent and started with it."""
    from kernex.agent import daemon  # noqa: PLC0415

    return 0 if daemon.run(state, once=options.once) else 1


def _status(options: argparse.Namespace, state: StateDirectory) -> int:
    """Who this device is, what it stands on and how its last deployments ended."""
    from kernex.agent import status  # noqa: PLC0415

    found = status.look(state)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n" if options.output == "json" else status.text(found))
    return 0


def _pin(options: argparse.Namespace, state: StateDirectory) -> int:
    """Keep a release on the disk: neither current nor previous, it would be removed with the next install."""
    app = Apps(state.apps)[options.name]
    app.pin(app.find(options.digest))
    return 0


def _unpin(options: argparse.Namespace, state: StateDirectory) -> int:
    """Let a release go as soon as nothing stands on it."""
    app = Apps(state.apps)[options.name]
    app.unpin(app.find(options.digest))
    return 0


if __name__ == "__main__":
    sys.exit(main())
