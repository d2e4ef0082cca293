"""``state.db`` of every format, and what is written into it once and for all."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kernex.agent.install import database
from kernex.agent.install.journal import Journal
from kernex.domain.bundle import Digest
from kernex.domain.install import Event, Install, Phase
from kernex.domain.probation import Probation

FORMAT_1 = Path(__file__).with_name("format-1.sql").read_text("utf-8")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(FORMAT_1)
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def schema(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [" ".join(row[0].split()) for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql > ''")]


def test_a_file_of_format_1_is_brought_up_to_date_and_keeps_what_it_knew(old: Path, tmp_path: Path) -> None:
    assert version(old) == 1
    with closing(Journal(old)) as journal:
        assert [one.deployment_id for one in journal.latest(9)] == ["told", "untold", "under way"]
        assert [one.deployment_id for one in journal.unacknowledged()] == ["untold"]
        unfinished = journal.unfinished()
        assert unfinished is not None
        assert (unfinished.phase, unfinished.tries, unfinished.previous) == (Phase.STAGING, 2, Digest("a" * 64))
        assert journal.probations.all() == [], "a success of long ago is not put on probation"
        assert journal.floors.floor("vad") == 0
        journal.write(replace(unfinished, phase=Phase.SUCCEEDED))
        assert [one.deployment_id for one in journal.probations.all()] == ["under way"]
    assert version(old) == database.FORMAT == 2
    Journal(tmp_path / "new.db").close()
    assert schema(old) == schema(tmp_path / "new.db"), "an old file and a new one differ"


def test_an_upgrade_that_is_cut_off_leaves_the_old_format_and_is_done_the_next_time(old: Path) -> None:
    before = schema(old)
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE floor (x)")  # in the way of the upgrade's second statement
    with pytest.raises(Exception, match="floor"):
        Journal(old)
    assert version(old) == 1
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("DROP TABLE floor")
    assert schema(old) == before, "half of an upgrade"
    Journal(old).close()
    assert version(old) == 2


def test_a_floor_rises_and_never_sinks(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(Journal(path)) as journal:
        for seq, floor in [(3, 3), (2, 3), (7, 7), (0, 7)]:
            journal.floors.raise_floor("vad", seq)
            assert journal.floors.floor("vad") == floor
        assert journal.floors.floor("another") == 0
    with closing(Journal(path)) as again:
        assert again.floors.floor("vad") == 7


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE floor SET min_seq = 6",
        "UPDATE floor SET app = 'another'",
        "DELETE FROM floor",
        "INSERT OR REPLACE INTO floor (app, min_seq) VALUES ('vad', 1)",
    ],
)
def test_no_statement_at_all_makes_a_floor_sink(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "state.db"
    with closing(Journal(path)) as journal:
        journal.floors.raise_floor("vad", 7)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="a floor never sinks"):
            connection.execute(statement)
        assert connection.execute("SELECT min_seq FROM floor").fetchone()[0] == 7


NEW = Install(
    deployment_id="d1",
    app="vad",
    bundle_id="b1",
    version="2.0.0",
    digest=Digest("d" * 64),
    archive_sha256=Digest("b" * 64),
    archive_bytes=1,
    previous=Digest("c" * 64),
    phase=Phase.SUCCEEDED,
)


def test_a_success_and_its_probation_are_one_write_and_so_is_their_end(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "state.db")) as journal:
        journal.write(NEW)
        assert journal.probations.all() == [Probation("d1", "vad")]
        journal.acknowledge([("d1", Phase.SUCCEEDED)])
        assert journal.unacknowledged() == []
        regressed = journal.write(NEW.after(Event.REGRESS, error="it fell"))
        assert journal.probations.all() == []
        assert journal.unfinished() == regressed
        ended = journal.write(regressed.after(Event.DONE))
        assert journal.unacknowledged() == [ended], "a revised outcome is told again"


def test_an_outcome_that_was_revised_while_it_was_told_is_not_acknowledged(tmp_path: Path) -> None:
    """The heartbeat said succeeded; by the time its answer came, the release was put back."""
    with closing(Journal(tmp_path / "state.db")) as journal:
        journal.write(NEW)
        ended = journal.write(NEW.after(Event.REGRESS, error="it fell").after(Event.DONE))
        journal.acknowledge([("d1", Phase.SUCCEEDED)])
        assert journal.unacknowledged() == [ended]
        journal.acknowledge([("d1", Phase.ROLLED_BACK)])
        assert journal.unacknowledged() == []


def test_deaths_count_against_the_newest_release_and_orderly_ends_against_none(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "state.db")) as journal:
        journal.write(NEW)
        journal.write(replace(NEW, deployment_id="d2", app="another"))

        def deaths() -> dict[str, int]:
            return {one.deployment_id: one.deaths for one in journal.probations.all()}

        journal.probations.agent_started(blame=True)
        assert deaths() == {"d2": 1, "d1": 0}
        journal.probations.agent_left()
        journal.probations.agent_started(blame=True)
        assert deaths() == {"d2": 1, "d1": 0}
        journal.probations.agent_started(blame=False)  # an install was under way: that counts it, as a try
        assert deaths() == {"d2": 1, "d1": 0}
        journal.probations.agent_started(blame=True)
        assert deaths() == {"d2": 2, "d1": 0}
        journal.probations.end("d2")
        journal.probations.agent_started(blame=True)
        assert deaths() == {"d1": 1}


def test_what_was_seen_is_saved_and_a_probation_that_ended_stays_ended(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "state.db")) as journal:
        journal.write(NEW)
        journal.probations.save(Probation("d1", "vad", lasted_s=12.5, restarts=2))
        assert journal.probations.all() == [Probation("d1", "vad", lasted_s=12.5, restarts=2)]
        journal.probations.end("d1")
        journal.probations.save(Probation("d1", "vad", lasted_s=13.0))
        assert journal.probations.all() == []
