"""From what the device remembers to what it says. Pure."""

from collections.abc import Sequence

import msgspec

from kernex.domain.install import Install, Phase
from kernex.wire import limits
from kernex.wire.device import Heartbeat, InstallReport, Result

_TYPE = 64  # characters of an unknown command's type


def install_report(install: Install, bytes_done: int = 0) -> InstallReport:
    return InstallReport(install.deployment_id, install.phase, install.error, install.metrics, bytes_done)


def result(report: InstallReport, device_id: str) -> Result:
    """The same as a message of its own. Only for a final phase."""
    succeeded = report.phase is Phase.SUCCEEDED
    return Result(
        device_id,
        "success" if succeeded else "failed",
        report.error,
        None if succeeded or report.phase is Phase.FAILED else report.phase.value,
        report.metrics,
    )


def fit(heartbeat: Heartbeat) -> Heartbeat:
    """The heartbeat within the wire's cap: outcomes wait for the next one, the oldest go first; facts wait
    when even that is too much. What is left out is not acknowledged, so it is said again."""
    while len(msgspec.json.encode(heartbeat)) > limits.HEARTBEAT_BYTES:
        if heartbeat.installs and len(heartbeat.installs) > 1:
            heartbeat = msgspec.structs.replace(heartbeat, installs=heartbeat.installs[:-1])
        elif heartbeat.facts is not None:
            heartbeat = msgspec.structs.replace(heartbeat, facts=None)
        elif heartbeat.apps:
            heartbeat = msgspec.structs.replace(heartbeat, apps=heartbeat.apps[: len(heartbeat.apps) // 2])
        else:
            break
    return heartbeat


def acknowledged(heartbeat: Heartbeat) -> list[tuple[str, Phase]]:
    """The outcomes that a 2xx to this heartbeat confirms, by deployment."""
    return [(report.deployment_id, report.phase) for report in heartbeat.installs or [] if report.phase.final]


def types(not_understood: Sequence[str]) -> list[str]:
    """The types of commands that were not understood, fit for the next heartbeat."""
    return [(one or "without a type")[:_TYPE] for one in dict.fromkeys(not_understood)][:16]
