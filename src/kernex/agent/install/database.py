"""``state.db``: one SQLite file for everything that the agent must not forget, and the formats that it had."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kernex.domain.errors import ConflictError, UnavailableError

#: What brings a file of format N to N + 1. A row is only ever added: files of every format are out there.
_UPGRADES: list[list[str]] = [
    [
        """
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
    ],
    [
        """
        CREATE TABLE probation (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            app TEXT NOT NULL UNIQUE,
            deployment_id TEXT NOT NULL UNIQUE,
            lasted_s REAL NOT NULL DEFAULT 0,
            deaths INTEGER NOT NULL DEFAULT 0,
            alive INTEGER NOT NULL DEFAULT 1, -- whether an agent runs that was not told to stop
            restarts INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        "CREATE TABLE floor (app TEXT PRIMARY KEY, min_seq INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        """
        CREATE TRIGGER floor_never_sinks BEFORE UPDATE ON floor
        WHEN new.min_seq < old.min_seq OR new.app <> old.app
        BEGIN SELECT RAISE(ABORT, 'a floor never sinks'); END
        """,
        """
        CREATE TRIGGER floor_is_never_replaced BEFORE INSERT ON floor
        WHEN EXISTS (SELECT 1 FROM floor WHERE app = new.app AND min_seq > new.min_seq)
        BEGIN SELECT RAISE(ABORT, 'a floor never sinks'); END
        """,
        """
        CREATE TRIGGER floor_never_goes BEFORE DELETE ON floor
        BEGIN SELECT RAISE(ABORT, 'a floor never sinks'); END
        """,
    ],
]
FORMAT = len(_UPGRADES)

#: What SQLite says on a full disk: not only FULL, for it also makes files beside the database.
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})

T = TypeVar("T")

Statement = tuple[str, Sequence[Any] | dict[str, Any]]


class Database:
    """Safe to use from several threads. What was written is on disk when `write` returns.

    `make_room` is asked on a full disk, once for each write; True means that another try is worth it.
    """

    def __init__(self, path: Path, make_room: Callable[[], bool]) -> None:
        self._path, self._make_room = path, make_room
        self._lock = threading.Lock()
        try:
            self._connection = self._once_more_with_room(self._opened)
        except sqlite3.Error as error:
            raise UnavailableError(f"cannot read {path}: {error}; free space or repair the disk") from None

    def close(self) -> None:
        self._connection.close()

    def write(self, *statements: Statement) -> None:
        """All of them or none; raises UnavailableError when the disk does not take them."""
        with self._lock:
            try:
                self._once_more_with_room(lambda: _transact(self._connection, statements))
            except sqlite3.Error as error:
                raise UnavailableError(f"cannot write the journal: {error}; free space or repair the disk") from None

    def read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise UnavailableError(f"cannot read the journal: {error}; repair the disk") from None

    def _once_more_with_room(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NO_ROOM or not self._make_room():
                raise
        return action()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        """In one transaction: a power cut leaves the old format or the new one."""
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise ConflictError(
                f"cannot read {self._path}: it has format {found}, this agent knows {FORMAT}; update it"
            )
        if found < FORMAT:
            upgrades = [(statement, ()) for one in _UPGRADES[found:] for statement in one]
            _transact(connection, [*upgrades, (f"PRAGMA user_version = {FORMAT}", ())])


def _transact(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, values in statements:
            connection.execute(statement, values)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
