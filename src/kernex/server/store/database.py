"""The database: one engine, two kinds of transaction, migrations at start.

SQLite runs with WAL and ``synchronous=FULL`` (measured: with NORMAL an acknowledged commit can be lost
on power loss). A write transaction takes the writer lock at once (BEGIN IMMEDIATE), so it never fails
half-way for having read first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kernex.domain.errors import RejectedError, UnavailableError

#: What a function of the store works in: one transaction of the caller's.
Connection = sqlalchemy.Connection

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6B726E78  # pg_advisory_xact_lock; any fixed number that nobody else uses
_MIN_SQLITE = (3, 38)  # UPDATE … FROM, RETURNING and ->>
_WRITE = {"kernex_write": True}


class Database:
    """Transactions on SQLite or PostgreSQL. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise RejectedError("cannot read the database URL: write sqlite:///FILE or postgresql://…") from None
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise RejectedError(f"cannot use a {parsed.get_backend_name()} database: use sqlite or postgresql")
        self.engine: Engine = create_engine(parsed, pool_size=8, max_overflow=8, pool_pre_ping=True)
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; nothing is written."""
        with _available(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All or nothing, and durable when the block is left."""
        with _available(), self.engine.connect() as connection, connection.execution_options(**_WRITE).begin():
            yield connection

    def migrate(self) -> None:
        """Bring the schema up to date. Several processes may call this at once: one works, the others wait."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except DataError:
        raise RejectedError("cannot look for that or store it: a value holds what no text may, like NUL") from None
    except (IntegrityError, ProgrammingError):
        raise  # our mistake, not the database's
    except DBAPIError as error:  # away, read-only after a failover, short of memory or disk
        raise UnavailableError(f"cannot use the database now: {error.orig}", retry_after_s=5) from error
    except PoolTimeoutError:
        raise UnavailableError("cannot use the database now: all connections are busy", retry_after_s=5) from None


def _prepare_sqlite(engine: Engine) -> None:
    version: tuple[int, ...] = engine.dialect.dbapi.sqlite_version_info  # type: ignore[union-attr]
    if version < _MIN_SQLITE:
        raise RejectedError(f"cannot use SQLite {'.'.join(map(str, version))}: 3.38 or newer is needed")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy says BEGIN; the driver must not say it again
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("kernex_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
