"""What a device's report means for its assignment.

A device says in which phase its install is; an assignment moves by events. This is the one bridge
between the machine on the device and the machine in the control plane.
"""

from kernex.domain.assignment import Event
from kernex.domain.errors import RejectedError
from kernex.domain.install import Phase

_FINAL = {
    Phase.SUCCEEDED: Event.SUCCEED,
    Phase.FAILED: Event.FAIL,
    Phase.ROLLED_BACK: Event.ROLL_BACK,
    Phase.BROKEN: Event.BREAK,
    Phase.CANCELLED: Event.STOP,
}
#: Ends that a result may name beside ``status: failed``; without one the old release kept running.
_UNHAPPY = {phase.value: event for phase, event in _FINAL.items() if phase is not Phase.SUCCEEDED}


def reported(phase: Phase) -> Event:
    """The event of a heartbeat that carries an install in this phase."""
    return _FINAL.get(phase, Event.START)


def result(status: str, outcome: str | None) -> Event:
    """The event of ``POST /deployments/{id}/result``."""
    match status, outcome:
        case "success", None | "succeeded":
            return Event.SUCCEED
        case "failed", None:
            return Event.FAIL
        case "failed", _ if outcome in _UNHAPPY:
            return _UNHAPPY[outcome]
        case "success" | "failed", _:
            raise RejectedError(f"cannot report {status!r} with the outcome {str(outcome)[:40]!r}: they contradict")
        case _:
            raise RejectedError(f"cannot report the status {status[:40]!r}: say success or failed")
