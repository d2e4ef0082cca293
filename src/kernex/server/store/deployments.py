"""Rows of deployments and their assignments.

A wave is a number on the assignment, and opening one is one changed row: `open_waves` of the
deployment. States move by `move`, which asks the table of the domain for every cell and lets the
database compare and set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, insert, select, update

from kernex.domain import assignment as assignments
from kernex.domain import deployment as deployments
from kernex.domain.assignment import State
from kernex.domain.errors import ConflictError, NotFoundError
from kernex.server.store import batch, events
from kernex.server.store.schema import assignment, bundle, deployment, device

Tally = dict[State, int]

#: The active states as rows move through them. Statements that follow this order miss no row that another
#: transaction moves on meanwhile: it is met again where it went.
_IN_ORDER = (State.PENDING, State.OFFERED, State.INSTALLING, State.CANCELLING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment as it is stored, with the name and version of its bundle."""

    id: int
    deployment_id: str
    bundle: int
    bundle_id: str
    app: str
    version: str
    state: deployments.State
    selector: str | None
    waves: list[str]
    max_failures: str
    open_waves: int
    reason: str | None
    created_by: str
    created_ms: int
    finished_ms: int | None

    @property
    def strategy(self) -> deployments.Strategy:
        return deployments.Strategy.parse(self.waves, self.max_failures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One device's share of a deployment."""

    id: int
    device_id: str
    deployment_id: str
    app: str
    version: str
    wave: int
    state: State
    phase: str | None
    error_message: str | None
    metrics: dict[str, float]
    updated_ms: int


def add(connection: Connection, values: dict[str, Any]) -> int:
    return int(connection.execute(insert(deployment).values(**values).returning(deployment.c.id)).scalar_one())


def assign(connection: Connection, row: int, devices: Iterable[tuple[int, int]], *, now_ms: int) -> None:
    """Give each (device row, wave) its assignment in this deployment."""
    source = batch.rows(connection, device="int", wave="int")
    batch.run(
        connection,
        "INSERT INTO assignment (deployment, device, wave, state, updated_ms) "  # noqa: S608 - names are ours
        f"SELECT :deployment, device, wave, :state, :now FROM {source} AS new",
        list(devices),
        deployment=row,
        state=State.PENDING.value,
        now=now_ms,
    )


def get(connection: Connection, deployment_id: str) -> Deployment:
    row = connection.execute(_query().where(deployment.c.deployment_id == deployment_id)).first()
    if row is None:
        raise NotFoundError(f"cannot find the deployment {deployment_id[:64]}: there is none with this id")
    return _deployment(row)


def page(connection: Connection, *, before: int | None, limit: int) -> list[Deployment]:
    """The newest first."""
    query = _query().order_by(deployment.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(deployment.c.id < before)
    return [_deployment(row) for row in connection.execute(query)]


def running(connection: Connection) -> list[Deployment]:
    query = _query().where(deployment.c.state == deployments.State.RUNNING.value).order_by(deployment.c.id)
    return [_deployment(row) for row in connection.execute(query)]


def tallies(connection: Connection, rows: Sequence[int]) -> dict[int, dict[int, Tally]]:
    """Counts by state, by wave, by deployment row. Derived each time, never stored."""
    query = (
        select(assignment.c.deployment, assignment.c.wave, assignment.c.state, func.count())
        .where(assignment.c.deployment.in_(rows))
        .group_by(assignment.c.deployment, assignment.c.wave, assignment.c.state)
        .order_by(assignment.c.deployment, assignment.c.wave)
    )
    result: dict[int, dict[int, Tally]] = {row: {} for row in rows}
    for row, wave, state, count in connection.execute(query):
        result[row].setdefault(wave, {})[State(state)] = count
    return result


def open_wave(connection: Connection, one: Deployment, wave: int) -> None:
    """Open the next wave; ConflictError when somebody opened it or ended the deployment before."""
    changed = connection.execute(
        update(deployment)
        .where(
            deployment.c.id == one.id,
            deployment.c.state == deployments.State.RUNNING.value,
            deployment.c.open_waves == wave - 1,
        )
        .values(open_waves=wave)
    )
    _expect_one(changed.rowcount, one)


def end(connection: Connection, one: Deployment, event: deployments.Event, *, reason: str | None, now_ms: int) -> None:
    """Complete or abort: compare and set."""
    state = deployments.after(one.state, event)
    changed = connection.execute(
        update(deployment)
        .where(deployment.c.id == one.id, deployment.c.state == one.state.value)
        .values(state=state.value, reason=reason, finished_ms=now_ms)
    )
    _expect_one(changed.rowcount, one)


def withdraw(connection: Connection, one: Deployment, *, actor: str, now_ms: int) -> None:
    """Take back what was not done yet: nobody is offered it any more, who was is asked to stop."""
    where = assignment.c.deployment == one.id
    _move(connection, where, assignments.Event.WITHDRAW, of=_IN_ORDER, actor=actor, now_ms=now_ms)


def supersede(connection: Connection, one: Deployment, wave: int, *, actor: str, now_ms: int) -> None:
    """End what the devices of this wave still owe older deployments of the same app."""
    mine = select(assignment.c.device).where(assignment.c.deployment == one.id, assignment.c.wave == wave)
    older = select(deployment.c.id).where(deployment.c.app == one.app, deployment.c.id < one.id)
    where = assignment.c.device.in_(mine) & assignment.c.deployment.in_(older)
    not_begun = (State.PENDING, State.OFFERED)
    _move(connection, where, assignments.Event.SUPERSEDE, of=not_begun, actor=actor, now_ms=now_ms)


def assignment_page(connection: Connection, one: Deployment, *, after: int, limit: int) -> list[Assignment]:
    query = _assignments().where(assignment.c.deployment == one.id, assignment.c.id > after)
    return [_assignment(row) for row in connection.execute(query.order_by(assignment.c.id).limit(limit))]


def assignments_of_device(connection: Connection, device_row: int, *, limit: int) -> list[Assignment]:
    """The newest first."""
    query = _assignments().where(assignment.c.device == device_row)
    return [_assignment(row) for row in connection.execute(query.order_by(assignment.c.id.desc()).limit(limit))]


def _move(
    connection: Connection,
    where: ColumnElement[bool],
    event: assignments.Event,
    *,
    of: Sequence[State],
    actor: str,
    now_ms: int,
) -> None:
    for state in of:
        following = assignments.NEXT[state].get(event, state)
        if following is state:
            continue
        moved = connection.execute(
            update(assignment)
            .where(where, assignment.c.state == state.value)
            .values(state=following.value, updated_ms=now_ms)
            .returning(assignment.c.device, assignment.c.deployment)
        ).all()
        told = [
            events.Event(kind=f"assignment.{following}", actor=actor, device=row.device, deployment=row.deployment)
            for row in moved
        ]
        events.record(connection, told, now_ms=now_ms)


def _expect_one(rowcount: int, one: Deployment) -> None:
    if rowcount != 1:
        raise ConflictError(f"cannot change the deployment {one.deployment_id}: it just changed; look again")


def _query() -> Select[Any]:
    return select(deployment, bundle.c.bundle_id, bundle.c.version).join(bundle, bundle.c.id == deployment.c.bundle)


def _deployment(row: Any) -> Deployment:
    values = dict(row._mapping)  # noqa: SLF001 - the documented accessor of a Row
    return Deployment(
        **values | {"state": deployments.State(row.state), "waves": msgspec.json.decode(row.waves, type=list[str])}
    )


def _assignments() -> Select[Any]:
    return (
        select(assignment, device.c.device_id, deployment.c.deployment_id, deployment.c.app, bundle.c.version)
        .join(device, device.c.id == assignment.c.device)
        .join(deployment, deployment.c.id == assignment.c.deployment)
        .join(bundle, bundle.c.id == deployment.c.bundle)
    )


def _assignment(row: Any) -> Assignment:
    return Assignment(
        id=row.id,
        device_id=row.device_id,
        deployment_id=row.deployment_id,
        app=row.app,
        version=row.version,
        wave=row.wave,
        state=State(row.state),
        phase=row.phase,
        error_message=row.error_message,
        metrics=msgspec.json.decode(row.metrics),
        updated_ms=row.updated_ms,
    )
