"""The journal: what it was told is there after a kill, and it forgets only what was acknowledged."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from kernex.agent.install import journal as journals
from kernex.agent.install.database import FORMAT
from kernex.agent.install.journal import Journal
from kernex.domain.bundle import Digest
from kernex.domain.errors import ConflictError, RejectedError, UnavailableError
from kernex.domain.install import Install, Phase

INSTALL = Install(
    deployment_id="d1",
    app="vad",
    bundle_id="b1",
    version="1.0.0",
    digest=Digest("a" * 64),
    archive_sha256=Digest("b" * 64),
    archive_bytes=10,
    previous=Digest("c" * 64),
    tries=1,
    error="cannot",
    metrics={"speech": 0.9},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def reopened(path: Path, *written: Install) -> Journal:
    journal = Journal(path)
    for install in written:
        journal.write(install)
    journal.close()
    return Journal(path)


def test_an_install_is_read_as_it_was_written(path: Path) -> None:
    journal = reopened(path, INSTALL)
    assert journal.find("d1") == INSTALL
    assert journal.unfinished() == INSTALL
    assert isinstance((journal.find("d1") or INSTALL).digest, Digest)
    journal.close()


def test_writes_are_synchronous_and_logged_ahead(path: Path) -> None:
    journal = Journal(path)
    assert journal._database._connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert journal._database._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    journal.close()


def test_an_outcome_is_told_until_it_is_acknowledged_and_again_when_asked_for(path: Path) -> None:
    ended = replace(INSTALL, phase=Phase.ROLLED_BACK)
    journal = reopened(path, ended)
    assert journal.unfinished() is None
    assert journal.unacknowledged() == [ended]
    journal.acknowledge([("d1", Phase.ROLLED_BACK), ("never heard of", Phase.FAILED)])
    assert journal.unacknowledged() == []
    assert journal.find("d1") == ended
    journal.repeat("d1")
    assert journal.unacknowledged() == [ended]
    journal.close()


def test_an_unfinished_install_cannot_be_acknowledged(path: Path) -> None:
    journal = reopened(path, INSTALL)
    journal.acknowledge([("d1", INSTALL.phase)])
    journal.write(replace(INSTALL, phase=Phase.FAILED))
    assert len(journal.unacknowledged()) == 1
    journal.close()


def test_only_acknowledged_outcomes_are_forgotten_and_only_beyond_the_last_ones(path: Path) -> None:
    journal = Journal(path)
    journal.write(replace(INSTALL, deployment_id="unheard", phase=Phase.FAILED))
    names = [f"d{number}" for number in range(journals.KEPT + 5)]
    for name in names:
        journal.write(replace(INSTALL, deployment_id=name, phase=Phase.SUCCEEDED))
    journal.acknowledge([(name, Phase.SUCCEEDED) for name in names])
    assert journal.find("unheard") is not None
    assert [name for name in names if journal.find(name) is None] == names[:5]
    journal.close()


def test_a_journal_of_another_format_is_refused(path: Path) -> None:
    reopened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConflictError, match=f"it has format 99, this agent knows {FORMAT}"):
        Journal(path)


def test_a_phase_that_nobody_knows_is_refused(path: Path) -> None:
    journal = reopened(path, INSTALL)
    journal._database._connection.execute("UPDATE install SET phase = 'dancing'")
    with pytest.raises(RejectedError, match="dancing"):
        journal.unfinished()
    journal.close()


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(UnavailableError, match=str(path)):
        Journal(path)


def test_a_write_that_fails_says_so_and_changes_nothing(path: Path) -> None:
    journal = reopened(path, INSTALL)
    journal._database._connection.execute("PRAGMA query_only = ON")  # what a full or read-only disk amounts to
    with pytest.raises(UnavailableError, match="cannot write the journal"):
        journal.write(replace(INSTALL, phase=Phase.FAILED))
    journal._database._connection.execute("PRAGMA query_only = OFF")
    assert journal.find("d1") == INSTALL
    journal.close()
