"""What one device owes one deployment, from `pending` to an outcome.

Every rule about assignment states is a cell of `NEXT`. Devices report where they are, not what just
happened, so a repeated report is a self-loop and a missed one is a jump: an install can finish between
two heartbeats, and a control plane restored from a backup may have forgotten that it offered it.
A success may still be revised by the device, within the probation of its release.
"""

from enum import StrEnum

from kernex.domain.machine import follow


class State(StrEnum):
    """Where an assignment is. The last seven are outcomes."""

    PENDING = "pending"  #: its wave is closed, or the device has not asked since it opened
    OFFERED = "offered"  #: the device may have been told
    INSTALLING = "installing"  #: the device says it is at work
    CANCELLING = "cancelling"  #: we asked it to stop; it has not answered
    SUCCEEDED = "succeeded"  #: the new release runs and passed its probe; its probation may still revise that
    FAILED = "failed"  #: never switched; the old release kept running
    ROLLED_BACK = "rolled_back"  #: switched, did not work, the old release runs again
    BROKEN = "broken"  #: neither release runs; send a person
    TIMED_OUT = "timed_out"  #: the device did not answer in time
    CANCELLED = "cancelled"  #: withdrawn before the switch
    SUPERSEDED = "superseded"  #: a newer deployment of the same app took its place

    @property
    def final(self) -> bool:
        return self in OUTCOMES


class Event(StrEnum):
    """What can happen to an assignment, in words that fit "cannot … an assignment"."""

    OFFER = "offer"
    START = "start"
    SUCCEED = "complete"
    FAIL = "fail"
    ROLL_BACK = "roll back"
    BREAK = "break"
    WITHDRAW = "withdraw"
    STOP = "stop"
    SUPERSEDE = "supersede"
    TIME_OUT = "time out"


OUTCOMES = frozenset(
    {
        State.SUCCEEDED,
        State.FAILED,
        State.ROLLED_BACK,
        State.BROKEN,
        State.TIMED_OUT,
        State.CANCELLED,
        State.SUPERSEDED,
    }
)
ACTIVE = frozenset(State) - OUTCOMES
#: Outcomes that count against a deployment's limits: the device wanted to and could not.
FAILURES = frozenset({State.FAILED, State.ROLLED_BACK, State.BROKEN, State.TIMED_OUT})

_REPORTED = {
    Event.SUCCEED: State.SUCCEEDED,
    Event.FAIL: State.FAILED,
    Event.ROLL_BACK: State.ROLLED_BACK,
    Event.BREAK: State.BROKEN,
}

NEXT: dict[State, dict[Event, State]] = {
    State.PENDING: {
        Event.OFFER: State.OFFERED,
        Event.START: State.INSTALLING,
        Event.WITHDRAW: State.CANCELLED,
        Event.STOP: State.CANCELLED,
        Event.SUPERSEDE: State.SUPERSEDED,
        Event.TIME_OUT: State.TIMED_OUT,
        **_REPORTED,
    },
    State.OFFERED: {
        Event.OFFER: State.OFFERED,
        Event.START: State.INSTALLING,
        Event.WITHDRAW: State.CANCELLING,
        Event.STOP: State.CANCELLED,
        Event.SUPERSEDE: State.SUPERSEDED,
        Event.TIME_OUT: State.TIMED_OUT,
        **_REPORTED,
    },
    State.INSTALLING: {
        Event.OFFER: State.INSTALLING,
        Event.START: State.INSTALLING,
        Event.WITHDRAW: State.CANCELLING,
        Event.STOP: State.CANCELLED,
        Event.SUPERSEDE: State.SUPERSEDED,
        Event.TIME_OUT: State.TIMED_OUT,
        **_REPORTED,
    },
    State.CANCELLING: {
        Event.START: State.CANCELLING,
        Event.WITHDRAW: State.CANCELLING,
        Event.STOP: State.CANCELLED,
        Event.TIME_OUT: State.TIMED_OUT,
        **_REPORTED,
    },
    # The one outcome that may be revised, and only by the device: its probation ended badly.
    State.SUCCEEDED: {
        Event.SUCCEED: State.SUCCEEDED,
        Event.ROLL_BACK: State.ROLLED_BACK,
        Event.BREAK: State.BROKEN,
    },
    State.FAILED: {Event.FAIL: State.FAILED},
    State.ROLLED_BACK: {Event.ROLL_BACK: State.ROLLED_BACK},
    State.BROKEN: {Event.BREAK: State.BROKEN},
    State.TIMED_OUT: {Event.TIME_OUT: State.TIMED_OUT},
    State.CANCELLED: {Event.STOP: State.CANCELLED, Event.WITHDRAW: State.CANCELLED},
    State.SUPERSEDED: {Event.SUPERSEDE: State.SUPERSEDED, Event.STOP: State.SUPERSEDED},
}


def after(state: State, event: Event) -> State:
    """The state that follows `event`, or IllegalTransition."""
    return follow("assignment", NEXT, state, event)
