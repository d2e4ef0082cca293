"""What a heartbeat means and what to answer. Pure: rows in, changes and commands out.

Everything is computed from what the device says now and what the database holds now. Nothing is
consumed, so a lost answer costs nothing: the next heartbeat gets the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kernex.domain import assignment, report
from kernex.domain.assignment import FAILURES, State, after
from kernex.domain.command import CommandType, Standing, orders
from kernex.domain.errors import DeniedError, IllegalTransition, KernexError
from kernex.domain.install import Phase
from kernex.server.store.events import Event
from kernex.server.store.heartbeats import Assigned, Change
from kernex.server.text import clean
from kernex.wire import limits
from kernex.wire.device import Cancel, Command, Deploy, InstallReport


@dataclass(frozen=True, slots=True)
class Reported:
    """One thing that a device says of one of its assignments."""

    deployment_id: str
    event: assignment.Event
    phase: Phase | None
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, said: InstallReport) -> "Reported":
        return cls(clean(said.deployment_id), report.reported(said.phase), said.phase, said.error, said.metrics)


@dataclass(slots=True)
class Answer:
    """What follows from one heartbeat."""

    commands: list[Command] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)

    @property
    def ends_something(self) -> bool:
        """Whether a deployment may go on because of it."""
        return any(change.state.final for change in self.changes)


def hear(reports: Sequence[Reported], known: dict[str, Assigned], device: int) -> Answer:
    """What reports change. `known` holds the device's assignments that they speak of, by deployment id.

    A report that the table has no cell for (a late result after an outcome, say) moves nothing and is kept
    as an event, once; one about somebody else's deployment is ignored: a device could send them for ever.
    """
    answer = Answer()
    for one in reports:
        assigned = known.get(one.deployment_id)
        if assigned is None:
            continue
        try:
            state = after(assigned.state, one.event)
        except IllegalTransition:
            if one.event is not assignment.Event.START and one.phase is not None and one.phase != assigned.phase:
                detail = {"state": assigned.state.value, "reported": one.event.value, "error": _error(one.error) or ""}
                answer.changes.append(Change(assigned.id, assigned.state, assigned.state, one.phase.value))
                answer.told.append(_event("report.late", device, assigned.deployment, detail))
            continue
        phase = assigned.phase if one.phase is None else one.phase.value
        if state is assigned.state and phase == assigned.phase:
            continue
        answer.changes.append(Change(assigned.id, assigned.state, state, phase, _error(one.error), one.metrics or None))
        if state is not assigned.state:
            detail = {"error": _error(one.error) or ""} if state in FAILURES else {}
            answer.told.append(_event(f"assignment.{state}", device, assigned.deployment, detail))
    return answer


def command(standing: Sequence[Assigned], at_work: frozenset[str], device: int) -> Answer:
    """What to tell a device with these active assignments. `at_work` are the deployments that it just
    reported: it has been told."""
    answer = Answer()
    by_row = {one.deployment: one for one in standing}
    for order in orders(Standing(one.deployment, one.app, one.state, rank=one.deployment) for one in standing):
        one = by_row[order.deployment]
        if order.type is CommandType.CANCEL:
            answer.commands.append(Cancel(one.deployment_id))
        elif one.deployment_id not in at_work:
            answer.commands.append(_deploy(one))
            state = after(one.state, assignment.Event.OFFER)
            if state is not one.state:
                answer.changes.append(Change(one.id, one.state, state, one.phase))
                answer.told.append(_event(f"assignment.{state}", device, one.deployment, {}))
    return answer


def answer(
    reports: Sequence[Reported],
    known: dict[str, Assigned],
    owed: Sequence[Assigned],
    at_work: frozenset[str],
    device: int,
) -> Answer:
    """A whole heartbeat. Reports come first, so that what they end is not offered again."""
    heard = hear(reports, known, device)
    _outrun(heard, known, owed, device)
    ended = {change.id for change in heard.changes if change.state.final}
    offered = command([one for one in owed if one.id not in ended], at_work, device)
    return Answer(offered.commands, heard.changes + offered.changes, heard.told + offered.told)


def _outrun(heard: Answer, known: dict[str, Assigned], owed: Sequence[Assigned], device: int) -> None:
    """End what the device still owes older deployments of an app whose newer release it now runs: an old
    release is never offered after a newer one."""
    moved = {change.id: change.state for change in heard.changes}
    running = {one.app: one.deployment for one in known.values() if moved.get(one.id) is State.SUCCEEDED}
    for one in owed:
        following = assignment.NEXT[one.state].get(assignment.Event.SUPERSEDE)
        if one.deployment < running.get(one.app, 0) and one.id not in moved and following is not None:
            heard.changes.append(Change(one.id, one.state, following, one.phase))
            heard.told.append(_event(f"assignment.{following}", device, one.deployment, {}))


def refusal(reported: Reported, known: dict[str, Assigned]) -> KernexError | None:
    """Why an explicit result cannot be taken: its sender has to hear of a contradiction, while a
    heartbeat's is only kept."""
    assigned = known.get(reported.deployment_id)
    if assigned is None:
        return DeniedError("cannot report on this deployment: the device is not one of its targets")
    try:
        after(assigned.state, reported.event)
    except IllegalTransition as error:
        return error
    return None


def _deploy(one: Assigned) -> Deploy:
    return Deploy(
        deployment_id=one.deployment_id,
        bundle_id=one.bundle_id,
        bundle_name=one.app,
        bundle_version=one.version,
        digest=one.digest,
        checksum_sha256=one.checksum_sha256,
        size_bytes=one.size_bytes,
    )


def _event(kind: str, device: int, deployment: int | None, detail: dict[str, str]) -> Event:
    return Event(kind=kind, actor="device", device=device, deployment=deployment, detail=dict(detail))


def _error(text: str | None) -> str | None:
    return None if text is None else clean(text, limits.ERROR_CHARACTERS)
