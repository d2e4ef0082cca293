"""The event table: what happened, in order. Only ever added to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from kernex.server.store import batch
from kernex.server.store.schema import event
from kernex.server.text import json_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`kind` is ``subject.what``; `actor` is the name of an operator's token, ``device`` or ``reconciler``."""

    kind: str
    actor: str
    device: int | None = None
    deployment: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def record(connection: Connection, events: Sequence[Event], *, now_ms: int) -> None:
    """Add events in the caller's transaction: they are there exactly when what they tell of is."""
    if not events:
        return
    source = batch.rows(connection, kind="text", actor="text", device="int", deployment="int", detail="text")
    values = [(one.kind, one.actor, one.device, one.deployment, json_text(one.detail)) for one in events]
    batch.run(
        connection,
        "INSERT INTO event (at_ms, kind, actor, device, deployment, detail) "  # noqa: S608
        f"SELECT :now, kind, actor, device, deployment, detail FROM {source} AS new",
        values,
        now=now_ms,
    )


def of_deployment(connection: Connection, deployment: int) -> list[Event]:
    """The timeline of one deployment, oldest first."""
    found = connection.execute(select(event).where(event.c.deployment == deployment).order_by(event.c.seq))
    return [
        Event(
            kind=row.kind,
            actor=row.actor,
            device=row.device,
            deployment=row.deployment,
            detail=msgspec.json.decode(row.detail),
        )
        for row in found
    ]
