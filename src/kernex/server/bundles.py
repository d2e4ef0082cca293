"""Take a bundle in once, hand its bytes out."""

import uuid
from pathlib import Path
from typing import Any

import msgspec

from kernex.bundle.archive import describe
from kernex.domain.errors import ConflictError, RejectedError
from kernex.server.access import DeviceIdentity, Operator
from kernex.server.clock import Clock, milliseconds
from kernex.server.store import bundles as rows
from kernex.server.store import events
from kernex.server.store.blobs import Blobs
from kernex.server.store.bundles import Bundle
from kernex.server.store.database import Database


class Bundles:
    """The use cases around bundles."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database, self._blobs, self._clock = database, blobs, clock

    def accept(self, archive: Path, said: bytes | None, operator: Operator) -> tuple[Bundle, bool]:
        """Store an uploaded archive; the bundle, and whether it is new.

        Read in full before anything is stored, so that what every device would refuse is refused here.
        `said` is the manifest that the original contract sends beside the archive: it has to agree with
        the one inside. The same bytes again are no news; other bytes under the same name and version
        are a conflict, and nothing that is stored changes.
        """
        described = describe(archive)
        if said is not None:
            _agree(said, described.manifest_json)
        ref = described.manifest.ref
        with self._database.read() as connection:
            known = rows.by_ref(connection, ref)
        if known is not None:
            return self._known(known, described.archive_sha256), False
        self._blobs.put(described.archive_sha256, archive)
        self._blobs.put(described.descriptor.digest, described.descriptor.encode())
        now_ms = milliseconds(self._clock)
        try:
            with self._database.write() as connection:
                stored = rows.add(
                    connection,
                    {
                        "bundle_id": str(uuid.uuid4()),
                        "name": ref.name,
                        "version": ref.version,
                        "digest": described.descriptor.digest,
                        "checksum_sha256": described.archive_sha256,
                        "size_bytes": described.archive_bytes,
                        "manifest": described.manifest_json.decode(),
                        "created_by": operator.name,
                        "created_ms": now_ms,
                    },
                )
                told = events.Event(
                    kind="bundle.stored", actor=operator.name, detail={"bundle": str(ref), "digest": stored.digest}
                )
                events.record(connection, [told], now_ms=now_ms)
        except ConflictError:
            with self._database.read() as connection:
                winner = rows.by_ref(connection, ref)
            if winner is None:
                raise
            return self._known(winner, described.archive_sha256), False
        return stored, True

    def page(
        self, *, name: str | None, version: str | None, before: int | None, limit: int
    ) -> tuple[list[Bundle], str | None]:
        """The newest first, and where the next page starts."""
        with self._database.read() as connection:
            found = rows.page(connection, name=name, version=version, before=before, limit=limit + 1)
        more = len(found) > limit
        return found[:limit], str(found[limit - 1].id) if more else None

    def open(self, bundle_id: str, reader: Operator | DeviceIdentity) -> Bundle:
        """A bundle for an operator who may read, or for a device that has to do with it."""
        with self._database.read() as connection:
            found = rows.get(connection, bundle_id)
            if isinstance(reader, DeviceIdentity) and not rows.is_assigned(connection, found.id, reader.id):
                raise rows.missing(bundle_id)
        return found

    def descriptor(self, found: Bundle) -> bytes:
        return self._blobs.get(found.digest)

    @staticmethod
    def _known(known: Bundle, archive_sha256: str) -> Bundle:
        if known.checksum_sha256 != archive_sha256:
            raise ConflictError(
                f"cannot store {known.ref}: that version is there already with other bytes; raise the version"
            )
        return known


def _agree(said: bytes, inside: bytes) -> None:
    try:
        outside: Any = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RejectedError("cannot read the manifest field: it is not JSON") from None
    if outside != msgspec.json.decode(inside):
        raise RejectedError(
            "cannot store the bundle: the manifest field differs from manifest.json in the archive; leave the field out"
        )
