"""One attempt to put a release on a device, phase by phase.

The rule that makes it survive power loss: every phase can be entered again. `tries` is counted on disk
before a phase runs, so a phase that kills the device is given up after MAX_TRIES instead of looping for
ever. A release that passed its probe is on probation for a while; one that breaks down then is put back as
if its probe had failed (`kernex.agent.install.probation`).
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from kernex.domain.bundle import Digest
from kernex.domain.machine import follow

MAX_TRIES = 3  # entries of one phase, crashes included; and what a release on probation may break down


class Phase(StrEnum):
    """Where an install is. The last five are final: only `succeeded` may be revised, by its probation."""

    DOWNLOADING = "downloading"  #: fetching the descriptor and the archive
    VERIFYING = "verifying"  #: comparing what came with what the server named
    STAGING = "staging"  #: unpacking beside what runs
    ACTIVATING = "activating"  #: switching `current`, running the deploy script, starting the workload
    PROBING = "probing"  #: asking the new release whether it works
    COMMITTING = "committing"  #: remembering it as the last good one
    RESTORING = "restoring"  #: putting the previous release back
    SUCCEEDED = "succeeded"  #: the new release runs
    FAILED = "failed"  #: never switched: the old release kept running
    ROLLED_BACK = "rolled_back"  #: switched and restored
    BROKEN = "broken"  #: neither runs
    CANCELLED = "cancelled"  #: stopped before the switch

    @property
    def final(self) -> bool:
        return self in OUTCOMES


class Event(StrEnum):
    """How a phase ended."""

    DONE = "finish"
    ERROR = "fail"
    STOP = "stop"
    REGRESS = "regress"


OUTCOMES = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.ROLLED_BACK, Phase.BROKEN, Phase.CANCELLED})

#: Up to STAGING the old release is untouched: stop and error are both free.
#: From ACTIVATING on there is no stopping, only forward or back.
NEXT: dict[Phase, dict[Event, Phase]] = {
    Phase.DOWNLOADING: {Event.DONE: Phase.VERIFYING, Event.ERROR: Phase.FAILED, Event.STOP: Phase.CANCELLED},
    Phase.VERIFYING: {Event.DONE: Phase.STAGING, Event.ERROR: Phase.FAILED, Event.STOP: Phase.CANCELLED},
    Phase.STAGING: {Event.DONE: Phase.ACTIVATING, Event.ERROR: Phase.FAILED, Event.STOP: Phase.CANCELLED},
    Phase.ACTIVATING: {Event.DONE: Phase.PROBING, Event.ERROR: Phase.RESTORING},
    Phase.PROBING: {Event.DONE: Phase.COMMITTING, Event.ERROR: Phase.RESTORING},
    Phase.COMMITTING: {Event.DONE: Phase.SUCCEEDED, Event.ERROR: Phase.RESTORING},
    Phase.RESTORING: {Event.DONE: Phase.ROLLED_BACK, Event.ERROR: Phase.BROKEN},
    Phase.SUCCEEDED: {Event.REGRESS: Phase.RESTORING},
    Phase.FAILED: {},
    Phase.ROLLED_BACK: {},
    Phase.BROKEN: {},
    Phase.CANCELLED: {},
}

STOPPABLE = frozenset(phase for phase, row in NEXT.items() if Event.STOP in row)


def after(phase: Phase, event: Event) -> Phase:
    """The phase that follows, or IllegalTransition."""
    return follow("install", NEXT, phase, event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """What the journal remembers of one attempt.

    `previous` is the release that ran before anything changed, captured once at the start; None on a
    first install. `error` keeps the first reason, so that a restore does not hide why it was needed.
    """

    deployment_id: str
    app: str
    bundle_id: str
    version: str
    digest: Digest
    archive_sha256: Digest
    archive_bytes: int
    previous: Digest | None
    phase: Phase = Phase.DOWNLOADING
    tries: int = 0
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def entered(self) -> "Install":
        """About to run its phase: the intent, to be written before acting."""
        return replace(self, tries=self.tries + 1)

    def after(self, event: Event, *, error: str | None = None) -> "Install":
        """The phase ended so; the first error is kept."""
        return replace(self, phase=after(self.phase, event), tries=0, error=self.error or error)

    @property
    def exhausted(self) -> bool:
        """Whether its phase was entered so often that it is given up. A restore is given up like any
        other phase: a device that cannot be restored must say `broken`, not fall silent."""
        return self.tries >= MAX_TRIES
