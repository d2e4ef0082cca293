"""What heartbeats read and write, for many devices in one statement each.

CROSS JOIN is written where SQLite must begin with the batch: with JOIN its planner, which cannot know
how few rows the JSON holds, may walk all devices instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from kernex.domain.assignment import ACTIVE, State
from kernex.domain.device import State as Admission
from kernex.domain.errors import ConflictError
from kernex.server.store import batch
from kernex.server.text import json_text

_STATES = ", ".join(f"'{state}'" for state in sorted(ACTIVE))
_COLUMNS = (
    "a.id, a.device, a.deployment, a.state, a.phase, d.deployment_id, d.app, "
    "b.bundle_id, b.version, b.digest, b.checksum_sha256, b.size_bytes"
)
_JOINS = "JOIN deployment d ON d.id = a.deployment JOIN bundle b ON b.id = d.bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """An assignment with what a deploy command says of its bundle."""

    id: int
    device: int
    deployment: int
    state: State
    phase: str | None
    deployment_id: str
    app: str
    bundle_id: str
    version: str
    digest: str
    checksum_sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """One assignment moves; it happens only if the row is still in state `before`."""

    id: int
    before: State
    state: State
    phase: str | None
    error_message: str | None = None
    metrics: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the narrow `live` row says of a device."""

    device: int
    seen_ms: int
    activity: str
    cpu_pct: float | None
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Said:
    """What a device says of itself and what changes rarely; JSON text, None for "as before"."""

    device: int
    facts: str | None
    apps: str | None
    agent_version: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted device: the id that travels, and what it said last."""

    device_id: str
    said: Said


def accepted(connection: Connection, devices: Sequence[int]) -> dict[int, Accepted]:
    """Of these devices the accepted ones."""
    source = batch.rows(connection, id="int")
    found = batch.run(
        connection,
        "SELECT device.device_id, device.id, device.facts, device.apps, device.agent_version "  # noqa: S608 - names are ours
        f"FROM {source} AS beat CROSS JOIN device WHERE device.id = beat.id AND device.state = :accepted",
        [(row,) for row in devices],
        accepted=Admission.ACCEPTED.value,
    )
    return {row.id: Accepted(row.device_id, Said(*row[1:])) for row in found}


def standing(connection: Connection, devices: Sequence[int]) -> list[Assigned]:
    """What these devices owe now: active, and in an open wave of a running deployment or being cancelled."""
    source = batch.rows(connection, id="int")
    found = batch.run(
        connection,
        f"SELECT {_COLUMNS} FROM {source} AS beat "  # noqa: S608 - names are ours
        f"CROSS JOIN assignment a {_JOINS} WHERE a.device = beat.id AND a.state IN ({_STATES}) "
        "AND (a.state = 'cancelling' OR (d.state = 'running' AND a.wave <= d.open_waves))",
        [(row,) for row in devices],
    )
    return [_assigned(row) for row in found]


def reported(connection: Connection, reports: Sequence[tuple[int, str]]) -> list[Assigned]:
    """The assignments that (device row, deployment id) pairs speak of, in whatever state."""
    source = batch.rows(connection, device="int", deployment_id="text")
    found = batch.run(
        connection,
        f"SELECT {_COLUMNS} FROM {source} AS report "  # noqa: S608 - names are ours
        "JOIN deployment d ON d.deployment_id = report.deployment_id "
        "JOIN assignment a ON a.deployment = d.id AND a.device = report.device "
        "JOIN bundle b ON b.id = d.bundle",
        reports,
    )
    return [_assigned(row) for row in found]


def apply(connection: Connection, changes: Sequence[Change], *, now_ms: int) -> None:
    """Move assignments. ConflictError when one is no longer where it was: read again and decide anew."""
    if not changes:
        return
    source = batch.rows(
        connection, id="int", before="text", state="text", phase="text", error_message="text", metrics="text"
    )
    moved = batch.run(
        connection,
        "UPDATE assignment SET state = new.state, phase = new.phase, updated_ms = :now, "  # noqa: S608
        "error_message = COALESCE(new.error_message, assignment.error_message), "
        f"metrics = COALESCE(new.metrics, assignment.metrics) FROM {source} AS new "
        "WHERE assignment.id = new.id AND assignment.state = new.before RETURNING assignment.id",
        [
            (
                one.id,
                one.before,
                one.state,
                one.phase,
                one.error_message,
                json_text(one.metrics) if one.metrics else None,
            )
            for one in changes
        ],
        now=now_ms,
    ).all()
    if len(moved) != len(changes):
        raise ConflictError("cannot apply the reports: an assignment just changed; read again")


def describe(connection: Connection, said: Sequence[Said]) -> None:
    """Store what devices say of themselves."""
    if not said:
        return
    source = batch.rows(connection, id="int", facts="text", apps="text", agent_version="text")
    batch.run(
        connection,
        "UPDATE device SET facts = COALESCE(new.facts, device.facts), "  # noqa: S608 - names are ours
        "apps = COALESCE(new.apps, device.apps), "
        f"agent_version = COALESCE(new.agent_version, device.agent_version) FROM {source} AS new "
        "WHERE device.id = new.id",
        [(one.device, one.facts, one.apps, one.agent_version) for one in said],
    )


def see(connection: Connection, seen: Sequence[Seen]) -> None:
    """Write when devices were last heard of; in the order of their ids, so that two writers never deadlock."""
    source = batch.rows(connection, device="int", seen_ms="int", activity="text", cpu_pct="real", memory_mb="real")
    batch.run(
        connection,
        "INSERT INTO live (device, seen_ms, activity, cpu_pct, memory_mb) "  # noqa: S608 - names are ours
        f"SELECT device, seen_ms, activity, cpu_pct, memory_mb FROM {source} AS new WHERE true ORDER BY device "
        "ON CONFLICT (device) DO UPDATE SET seen_ms = excluded.seen_ms, activity = excluded.activity, "
        "cpu_pct = excluded.cpu_pct, memory_mb = excluded.memory_mb WHERE live.seen_ms <= excluded.seen_ms",
        [
            (one.device, one.seen_ms, one.activity, one.cpu_pct, one.memory_mb)
            for one in sorted(seen, key=lambda one: one.device)
        ],
    )


def _assigned(row: Any) -> Assigned:
    values = dict(row._mapping)  # noqa: SLF001 - the documented accessor of a Row
    return Assigned(**values | {"state": State(row.state)})
