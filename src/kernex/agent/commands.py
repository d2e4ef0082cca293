"""What a command means for this device now. Deciding only; `kernex.agent.agent` does it."""

from dataclasses import dataclass

import msgspec

from kernex.domain.bundle import BundleRef, Digest
from kernex.domain.errors import RejectedError
from kernex.domain.install import Install, Phase
from kernex.wire.device import Cancel, Command, Deploy, InstallReport, Unknown, read_command

_ID = 64  # characters; a longer one could not be answered


@dataclass(frozen=True, slots=True)
class Begin:
    """A new install. Its `previous` is the doer's to fill in."""

    install: Install


@dataclass(frozen=True, slots=True)
class StopInstall:
    """Cancel the install that runs."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """It ended here already: tell the outcome again."""

    deployment_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Nothing to remember; tell this until it is heard."""

    report: InstallReport


@dataclass(frozen=True, slots=True)
class NotNow:
    """It is being done, or waits for what is: the command comes again."""


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A newer control plane's command, or a broken one."""

    type: str


Decision = Begin | StopInstall | Repeat | Answer | NotNow | NotUnderstood


def read(raw: msgspec.Raw) -> Command | Unknown:
    """One command of a reply, whatever it is."""
    try:
        command = read_command(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Unknown("malformed")
    if isinstance(command, Deploy | Cancel) and not 0 < len(command.deployment_id) <= _ID:
        return Unknown("malformed")
    return command


def decide(command: Command | Unknown, known: Install | None, *, busy: bool) -> Decision:
    """`known` is what the journal says of the command's deployment; `busy`: an install runs."""
    match command:
        case Unknown():
            return NotUnderstood(command.type)
        case _ if known is not None and known.phase.final:
            return Repeat(known.deployment_id)
        case Cancel():
            if known is not None:
                return StopInstall()
            return Answer(InstallReport(command.deployment_id, Phase.CANCELLED))
        case Deploy() if known is not None or busy:
            return NotNow()
        case Deploy():
            try:
                return Begin(_install(command))
            except RejectedError as error:
                return Answer(InstallReport(command.deployment_id, Phase.FAILED, str(error)))


def _install(command: Deploy) -> Install:
    """The install that a command asks for, every name in it checked."""
    ref = BundleRef(command.bundle_name, command.bundle_version)
    if command.size_bytes < 1:
        raise RejectedError(f"cannot install {ref}: an archive of {command.size_bytes} bytes is none")
    if not 0 < len(command.bundle_id) <= _ID:
        raise RejectedError(f"cannot install {ref}: its bundle id has {len(command.bundle_id)} characters")
    return Install(
        deployment_id=command.deployment_id,
        app=ref.name,
        bundle_id=command.bundle_id,
        version=ref.version,
        digest=Digest(command.digest),
        archive_sha256=Digest(command.checksum_sha256),
        archive_bytes=command.size_bytes,
        previous=None,
    )
