"""Device: one machine in the fleet, from its first registration to its retirement."""

from enum import StrEnum
from typing import Any

from kernex.domain.machine import follow

OVERDUE_INTERVALS = 3.0  # missed heartbeats before a device no longer counts as online


class State(StrEnum):
    """Whether the fleet takes a device for one of its own."""

    PENDING = "pending"  #: it proved its key and waits for an operator
    ACCEPTED = "accepted"  #: it may heartbeat, download and report
    REVOKED = "revoked"  #: it may nothing, and its key never registers again


class Event(StrEnum):
    APPROVE = "approve"
    REVOKE = "revoke"


NEXT: dict[State, dict[Event, State]] = {
    State.PENDING: {Event.APPROVE: State.ACCEPTED, Event.REVOKE: State.REVOKED},
    State.ACCEPTED: {Event.APPROVE: State.ACCEPTED, Event.REVOKE: State.REVOKED},
    State.REVOKED: {Event.REVOKE: State.REVOKED},
}


def after(state: State, event: Event) -> State:
    """The state that follows, or IllegalTransition."""
    return follow("device", NEXT, state, event)


def is_online(last_heartbeat: float | None, interval_s: float, now: float) -> bool:
    """Whether the device was heard of lately. Times are unix seconds of the server's clock."""
    return last_heartbeat is not None and now - last_heartbeat <= OVERDUE_INTERVALS * interval_s


def properties(facts: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """What a selector sees: what operators say wins over what the device says."""
    return {**facts, **labels}
