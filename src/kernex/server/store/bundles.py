"""Rows of bundles. Immutable: a name and version, once there, never names other bytes."""

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from kernex.domain.bundle import BundleRef
from kernex.domain.errors import ConflictError, NotFoundError, RejectedError
from kernex.server.store.schema import assignment, bundle, deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`digest` is of the descriptor, `checksum_sha256` and `size_bytes` are of the archive."""

    id: int
    bundle_id: str
    name: str
    version: str
    digest: str
    checksum_sha256: str
    size_bytes: int
    manifest: dict[str, Any]
    created_by: str
    created_ms: int

    @property
    def ref(self) -> BundleRef:
        return BundleRef(self.name, self.version)


def add(connection: Connection, values: dict[str, Any]) -> Bundle:
    try:
        with connection.begin_nested():
            return _bundle(connection.execute(insert(bundle).values(**values).returning(bundle)).one())
    except IntegrityError:
        raise ConflictError(
            f"cannot store {values['name']}=={values['version']}: that version is there already; raise the version"
        ) from None


def by_ref(connection: Connection, ref: BundleRef) -> Bundle | None:
    query = select(bundle).where(bundle.c.name == ref.name, bundle.c.version == ref.version)
    row = connection.execute(query).first()
    return None if row is None else _bundle(row)


def get(connection: Connection, bundle_id: str) -> Bundle:
    row = connection.execute(select(bundle).where(bundle.c.bundle_id == bundle_id)).first()
    if row is None:
        raise missing(bundle_id)
    return _bundle(row)


def missing(bundle_id: str) -> NotFoundError:
    """The one answer to who may not read a bundle and to who asks for one that is not there."""
    return NotFoundError(f"cannot find the bundle {bundle_id[:64]}: it is not stored here")


def by_version(connection: Connection, version: str, name: str | None) -> Bundle:
    """The one bundle of this version; RejectedError when several apps have it and no name is given."""
    query = select(bundle).where(bundle.c.version == version)
    if name is not None:
        query = query.where(bundle.c.name == name)
    found = [_bundle(row) for row in connection.execute(query.limit(2))]
    wanted = version if name is None else f"{name}=={version}"
    if not found:
        raise NotFoundError(f"cannot find the bundle {wanted[:200]}: push it first")
    if len(found) > 1:
        raise RejectedError(f"cannot choose a bundle {version}: several apps have that version; add its name")
    return found[0]


def page(
    connection: Connection, *, name: str | None, version: str | None, before: int | None, limit: int
) -> list[Bundle]:
    """The newest first."""
    query = select(bundle).order_by(bundle.c.id.desc()).limit(limit)
    if name is not None:
        query = query.where(bundle.c.name == name)
    if version is not None:
        query = query.where(bundle.c.version == version)
    if before is not None:
        query = query.where(bundle.c.id < before)
    return [_bundle(row) for row in connection.execute(query)]


def is_assigned(connection: Connection, bundle_row: int, device_row: int) -> bool:
    """Whether the device has to do with the bundle; only then may it read it."""
    query = (
        select(assignment.c.id)
        .join(deployment, deployment.c.id == assignment.c.deployment)
        .where(assignment.c.device == device_row, deployment.c.bundle == bundle_row)
        .limit(1)
    )
    return connection.execute(query).first() is not None


def _bundle(row: Any) -> Bundle:
    values = dict(row._mapping)  # noqa: SLF001 - the documented accessor of a Row
    return Bundle(**values | {"manifest": msgspec.json.decode(values["manifest"])})
