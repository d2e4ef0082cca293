"""Rows of devices and of what was last heard of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from kernex.domain.device import State
from kernex.domain.errors import ConflictError, NotFoundError
from kernex.server.store.schema import device, live

_PAGE = 2000  # rows read at once where all devices are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as it is stored; `id` joins tables, `device_id` travels."""

    id: int
    device_id: str
    thumbprint: str
    public_key: str
    state: State
    device_type: str | None
    hardware_metadata: dict[str, Any]
    labels: dict[str, str]
    facts: dict[str, Any]
    apps: list[dict[str, Any]]
    agent_version: str
    registered_ms: int
    seen_ms: int | None
    activity: str
    cpu_pct: float | None
    memory_mb: float | None

    @property
    def seen_s(self) -> float | None:
        return None if self.seen_ms is None else self.seen_ms / 1000


def add(connection: Connection, values: dict[str, Any]) -> int:
    """Insert a device; the unique thumbprint decides between several that come at once."""
    try:
        with connection.begin_nested():
            return int(connection.execute(insert(device).values(**values).returning(device.c.id)).scalar_one())
    except IntegrityError:
        raise ConflictError("cannot register this key: it is registered already") from None


def by_thumbprint(connection: Connection, thumbprint: str) -> Device | None:
    row = connection.execute(_query().where(device.c.thumbprint == thumbprint)).first()
    return None if row is None else _device(row)


def get(connection: Connection, device_id: str) -> Device:
    row = connection.execute(_query().where(device.c.device_id == device_id)).first()
    if row is None:
        raise NotFoundError(f"cannot find the device {device_id[:64]}: it is not registered here")
    return _device(row)


def count(connection: Connection, state: State) -> int:
    return int(connection.scalar(select(func.count()).select_from(device).where(device.c.state == state.value)) or 0)


def page(connection: Connection, *, after: int, limit: int) -> list[Device]:
    """The next devices in the order of registration."""
    query = _query().where(device.c.id > after).order_by(device.c.id).limit(limit)
    return [_device(row) for row in connection.execute(query)]


def everyone(connection: Connection, *, after: int = 0) -> Iterator[Device]:
    """All devices from there on, read page by page."""
    while found := page(connection, after=after, limit=_PAGE):
        yield from found
        after = found[-1].id


def named(connection: Connection, device_ids: Sequence[str]) -> list[Device]:
    found: list[Device] = []
    for start in range(0, len(device_ids), _PAGE):
        query = _query().where(device.c.device_id.in_(device_ids[start : start + _PAGE]))
        found += [_device(row) for row in connection.execute(query)]
    return found


def move(connection: Connection, one: Device, state: State) -> None:
    """Compare and set the state."""
    changed = connection.execute(
        update(device).where(device.c.id == one.id, device.c.state == one.state.value).values(state=state.value)
    )
    if changed.rowcount != 1:
        raise ConflictError(f"cannot change the device {one.device_id}: somebody else just did; look again")


def _query() -> Select[Any]:
    return select(device, live.c.seen_ms, live.c.activity, live.c.cpu_pct, live.c.memory_mb).outerjoin(
        live, live.c.device == device.c.id
    )


def _device(row: Any) -> Device:
    return Device(
        id=row.id,
        device_id=row.device_id,
        thumbprint=row.thumbprint,
        public_key=row.public_key,
        state=State(row.state),
        device_type=row.device_type,
        hardware_metadata=msgspec.json.decode(row.hardware_metadata),
        labels=msgspec.json.decode(row.labels),
        facts=msgspec.json.decode(row.facts),
        apps=msgspec.json.decode(row.apps),
        agent_version=row.agent_version,
        registered_ms=row.registered_ms,
        seen_ms=row.seen_ms,
        activity=row.activity or "",
        cpu_pct=row.cpu_pct,
        memory_mb=row.memory_mb,
    )
