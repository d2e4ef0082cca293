"""The journal and the outbox: every install, in ``state.db``. What it says is what recovery believes."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from kernex.domain.bundle import Digest
from kernex.domain.errors import ConflictError, RejectedError, UnavailableError
from kernex.domain.install import Install, Phase

FORMAT = 1
KEPT = 200  # acknowledged installs that are remembered, so that an old command never installs again

_SCHEMA = """
CREATE TABLE install (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment_id TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    bundle_id TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    archive_sha256 TEXT NOT NULL,
    archive_bytes INTEGER NOT NULL,
    previous TEXT,
    phase TEXT NOT NULL,
    tries INTEGER NOT NULL,
    error TEXT,
    metrics TEXT NOT NULL,
    final INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0
) STRICT
"""
_WRITE = """
INSERT INTO install (
    deployment_id, app, bundle_id, version, digest, archive_sha256, archive_bytes, previous,
    phase, tries, error, metrics, final
) VALUES (
    :deployment_id, :app, :bundle_id, :version, :digest, :archive_sha256, :archive_bytes, :previous,
    :phase, :tries, :error, :metrics, :final
) ON CONFLICT (deployment_id) DO UPDATE SET
    previous = excluded.previous, phase = excluded.phase, tries = excluded.tries, error = excluded.error,
    metrics = excluded.metrics, final = excluded.final
"""


class Journal:
    """Safe to use from several threads. A write is on disk when it returns, or raises UnavailableError."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise UnavailableError(f"cannot open {path}: {error}; repair the disk") from None
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise UnavailableError(f"cannot read {path}: {error}; repair the disk") from None

    def close(self) -> None:
        self._connection.close()

    def write(self, install: Install) -> Install:
        """Remember where this install is; returns it."""
        row = asdict(install) | {"final": install.phase.final, "metrics": msgspec.json.encode(install.metrics).decode()}
        with self._transaction() as connection:
            connection.execute(_WRITE, {name: _plain(value) for name, value in row.items()})
        return install

    def find(self, deployment_id: str) -> Install | None:
        return next(iter(self._select("SELECT * FROM install WHERE deployment_id = ?", deployment_id)), None)

    def unfinished(self) -> Install | None:
        """The install that a recovery has to finish."""
        return next(iter(self._select("SELECT * FROM install WHERE final = 0 ORDER BY number")), None)

    def unacknowledged(self) -> list[Install]:
        """Outcomes that the control plane has not confirmed, the oldest first."""
        return self._select("SELECT * FROM install WHERE acknowledged = 0 AND final = 1 ORDER BY number")

    def latest(self, count: int) -> list[Install]:
        """The newest installs, the oldest of them first."""
        return self._select("SELECT * FROM install ORDER BY number DESC LIMIT ?", count)[::-1]

    def acknowledge(self, deployment_ids: Iterable[str]) -> None:
        """The control plane has these outcomes. Forgets the oldest beyond KEPT."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE install SET acknowledged = 1 WHERE deployment_id = ? AND final = 1",
                [(deployment_id,) for deployment_id in deployment_ids],
            )
            connection.execute(
                "DELETE FROM install WHERE acknowledged = 1 AND number NOT IN "
                "(SELECT number FROM install WHERE acknowledged = 1 ORDER BY number DESC LIMIT ?)",
                [KEPT],
            )

    def repeat(self, deployment_id: str) -> None:
        """The control plane asks for an outcome that it confirmed: tell it again."""
        with self._transaction() as connection:
            connection.execute("UPDATE install SET acknowledged = 0 WHERE deployment_id = ?", [deployment_id])

    def _prepare(self, path: Path) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            with self._transaction() as connection:
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif found != FORMAT:
            self._connection.close()
            raise ConflictError(f"cannot read {path}: it has format {found}, this agent knows {FORMAT}; update it")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise UnavailableError(f"cannot write the journal: {error}; free space or repair the disk") from None

    def _select(self, query: str, *values: Any) -> list[Install]:
        with self._lock:
            try:
                rows = self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise UnavailableError(f"cannot read the journal: {error}; repair the disk") from None
        return [_install(row) for row in rows]


def _plain(value: Any) -> Any:
    """SQLite takes neither enums nor digests, only the strings that they are."""
    return str(value) if isinstance(value, str) else value


def _install(row: sqlite3.Row) -> Install:
    try:
        phase = Phase(row["phase"])
    except ValueError:
        raise RejectedError(f"cannot read the journal: it speaks of the phase {row['phase'][:40]!r}") from None
    return Install(
        deployment_id=row["deployment_id"],
        app=row["app"],
        bundle_id=row["bundle_id"],
        version=row["version"],
        digest=Digest(row["digest"]),
        archive_sha256=Digest(row["archive_sha256"]),
        archive_bytes=row["archive_bytes"],
        previous=Digest(row["previous"]) if row["previous"] is not None else None,
        phase=phase,
        tries=row["tries"],
        error=row["error"],
        metrics=msgspec.json.decode(row["metrics"], type=dict[str, float]),
    )
