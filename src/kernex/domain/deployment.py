"""Deployment: the intent "these devices shall run this bundle", in waves guarded by a limit.

`advance` is the whole policy: pure, called on every tick with fresh tallies, and never out of step
with reality because it remembers nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import ceil, floor

from kernex.domain import assignment
from kernex.domain.errors import RejectedError
from kernex.domain.machine import follow

MAX_WAVES = 100


class State(StrEnum):
    RUNNING = "running"  #: waves open one after the other
    COMPLETED = "completed"  #: every device has its outcome and the limit was kept
    ABORTED = "aborted"  #: no further device is touched

    @property
    def final(self) -> bool:
        return self is not State.RUNNING


class Event(StrEnum):
    COMPLETE = "complete"
    ABORT = "abort"


NEXT: dict[State, dict[Event, State]] = {
    State.RUNNING: {Event.COMPLETE: State.COMPLETED, Event.ABORT: State.ABORTED},
    State.COMPLETED: {Event.COMPLETE: State.COMPLETED},
    State.ABORTED: {Event.ABORT: State.ABORTED},
}


def after(state: State, event: Event) -> State:
    """The state that follows, or IllegalTransition."""
    return follow("deployment", NEXT, state, event)


@dataclass(frozen=True, slots=True)
class Share:
    """A number of devices, said as a count (``5``) or as a percentage of the targets (``25%``)."""

    amount: Fraction
    percent: bool

    @classmethod
    def parse(cls, text: str | int) -> "Share":
        match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(%?)\s*", str(text))
        if match is None or (not match[2] and "." in match[1]):
            raise RejectedError(f"cannot read {str(text)[:40]!r} as a number of devices: write 5 or 25%")
        share = cls(Fraction(match[1]), bool(match[2]))
        if share.percent and share.amount > 100:
            raise RejectedError(f"cannot use {text}: 100% are all devices")
        return share

    def rounded_up(self, total: int) -> int:
        """As the end of a wave: at least one device for anything above zero."""
        return min(total, ceil(self.amount * total / 100) if self.percent else int(self.amount))

    def rounded_down(self, total: int) -> int:
        """As a limit: never more than was allowed."""
        return floor(self.amount * total / 100) if self.percent else int(self.amount)

    def __str__(self) -> str:
        digits = f"{float(self.amount):.6f}".rstrip("0").rstrip(".")  # all that `parse` takes, exactly
        return f"{digits}{'%' if self.percent else ''}"


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a deployment spreads. `waves` are cumulative: ``1,25%,100%`` is one device, then up to a
    quarter, then all. More than `max_failures` failed devices stop it."""

    waves: tuple[Share, ...] = (Share(Fraction(100), True),)
    max_failures: Share = Share(Fraction(0), False)

    @classmethod
    def parse(cls, waves: Sequence[str | int], max_failures: str | int = 0) -> "Strategy":
        shares = tuple(map(Share.parse, waves))
        if not 1 <= len(shares) <= MAX_WAVES:
            raise RejectedError(f"cannot deploy in {len(shares)} waves: 1 to {MAX_WAVES}")
        if shares[-1] != Share(Fraction(100), True):
            raise RejectedError(f"cannot end with the wave {shares[-1]}: end with 100%, so that no device is left out")
        return cls(shares, Share.parse(max_failures))

    def sizes(self, targets: int) -> list[int]:
        """How many devices each wave adds, empty waves left out; they sum up to `targets`."""
        sizes, reached = [], 0
        for share in self.waves:
            end = share.rounded_up(targets)
            if end > reached:
                sizes.append(end - reached)
                reached = end
        return sizes


@dataclass(frozen=True, slots=True)
class Progress:
    """What `advance` may look at. `tallies[i]` counts the assignments of wave i + 1 by state;
    `open_waves` is how many of them are open."""

    open_waves: int
    tallies: Sequence[Mapping[assignment.State, int]]
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class OpenWave:
    wave: int  # 1 is the first


@dataclass(frozen=True, slots=True)
class Abort:
    reason: str


@dataclass(frozen=True, slots=True)
class Complete:
    pass


Decision = Hold | OpenWave | Abort | Complete


def advance(progress: Progress) -> Decision:
    """What a running deployment should do next.

    The limit is judged before anything opens, over all targets, so a wave never opens beside a breach.
    """
    failed = sum(tally.get(state, 0) for tally in progress.tallies for state in assignment.FAILURES)
    targets = sum(sum(tally.values()) for tally in progress.tallies)
    limit = progress.strategy.max_failures
    if failed > limit.rounded_down(targets):
        return Abort(f"{failed} of {targets} devices failed, at most {limit} may")
    opened = progress.tallies[: progress.open_waves]
    if any(tally.get(state, 0) for tally in opened for state in assignment.ACTIVE):
        return Hold()
    if progress.open_waves < len(progress.tallies):
        return OpenWave(progress.open_waves + 1)
    return Complete()
