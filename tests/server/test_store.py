"""The store, on SQLite and on a real PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect, text
from tests.server.rows import add_bundle, add_deployment, add_device

from kernex.domain import deployment as deployment_domain
from kernex.domain.assignment import State
from kernex.domain.bundle import BundleRef
from kernex.domain.device import State as Admission
from kernex.domain.errors import ConflictError, NotFoundError, RejectedError, UnauthenticatedError, UnavailableError
from kernex.domain.role import Role
from kernex.server.store import access, bundles, deployments, devices, events, heartbeats, lease, schema
from kernex.server.store.database import Database
from kernex.server.store.heartbeats import Change, Said, Seen

MIGRATIONS = Path(schema.__file__).parent / "migrations"


def test_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrations_go_down_to_nothing_and_up_again(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    database.migrate()
    with database.read() as connection:
        assert set(schema.metadata.tables) <= set(inspect(connection).get_table_names())


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    opened = [Database(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Database.migrate, opened))
    with opened[0].read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    for one in opened:
        one.close()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(ConflictError), database.write() as connection:
        add_device(connection, 1)
        add_device(connection, 1)
    with database.read() as connection:
        assert devices.page(connection, after=0, limit=10) == []


def test_sqlite_syncs_every_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'kernex.db'}")
    with database.read() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    database.close()


def test_a_database_that_is_away_is_unavailable_not_an_accident() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(UnavailableError, match="cannot use the database"), database.read():
        pass


@pytest.mark.parametrize("url", ["mysql://x/y", "not a url", ""])
def test_other_databases_are_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(RejectedError, match=r"cannot (use|read)"):
        Database(url)


def test_of_many_registrations_of_one_key_exactly_one_wins(database: Database) -> None:
    barrier, won, lost = threading.Barrier(8), [], []

    def register(_: int) -> None:
        barrier.wait()
        try:
            with database.write() as connection:
                won.append(add_device(connection, 1))
        except ConflictError as error:
            lost.append(error)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(register, range(8)))
    assert (len(won), len(lost)) == (1, 7)


def test_an_enrolment_key_is_used_exactly_as_often_as_it_says(database: Database) -> None:
    with database.write() as connection:
        values = {"key_id": "k", "key_sha256": "h", "labels": '{"site":"lyon"}', "uses_left": 3, "auto_approve": True}
        access.add_enrolment_key(connection, {**values, "created_by": "test", "created_ms": 0, "expires_ms": 1000})

    def use(_: int) -> bool:
        with database.write() as connection:
            return access.use_enrolment_key(connection, "h", now_ms=10) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 3


def test_an_enrolment_key_that_expired_opens_nothing(database: Database) -> None:
    with database.write() as connection:
        values = {"key_id": "k", "key_sha256": "h", "labels": "{}", "uses_left": 3, "auto_approve": True}
        access.add_enrolment_key(connection, {**values, "created_by": "test", "created_ms": 0, "expires_ms": 1000})
        assert access.use_enrolment_key(connection, "h", now_ms=1000) is None
        assert access.use_enrolment_key(connection, "h", now_ms=999) is not None


def test_a_nonce_is_spent_once(database: Database) -> None:
    with database.write() as connection:
        access.spend_nonce(connection, "n", now_ms=0, expires_ms=100)
    with pytest.raises(UnauthenticatedError), database.write() as connection:
        access.spend_nonce(connection, "n", now_ms=50, expires_ms=100)


def test_spent_nonces_do_not_pile_up(database: Database) -> None:
    with database.write() as connection:
        for number in range(10):
            access.spend_nonce(connection, f"n{number}", now_ms=number * 100, expires_ms=number * 100 + 50)
        assert connection.scalar(text("SELECT count(*) FROM spent_nonce")) == 1


def test_a_token_is_found_by_its_hash_until_it_expires(database: Database) -> None:
    with database.write() as connection:
        access.add_token(connection, name="ci", role=Role.PUBLISHER, token_sha256="h", now_ms=0, expires_ms=100)
        assert access.find_token(connection, "h", now_ms=99) == ("ci", Role.PUBLISHER)
        assert access.find_token(connection, "h", now_ms=100) is None
        assert access.find_token(connection, "other", now_ms=0) is None


def test_a_bundle_version_is_stored_once(database: Database) -> None:
    with database.write() as connection:
        first = add_bundle(connection)
        with pytest.raises(ConflictError, match="raise the version"):
            add_bundle(connection)
        assert bundles.by_ref(connection, BundleRef("vad", "1.0.0")) == first


def test_a_version_that_two_apps_have_needs_a_name(database: Database) -> None:
    with database.write() as connection:
        vad, other = add_bundle(connection), add_bundle(connection, name="ocr")
        with pytest.raises(RejectedError, match="add its name"):
            bundles.by_version(connection, "1.0.0", None)
        assert bundles.by_version(connection, "1.0.0", "ocr") == other
        assert bundles.by_version(connection, "1.0.0", "vad") == vad
        with pytest.raises(NotFoundError):
            bundles.by_version(connection, "9", None)


def test_pages_of_devices_hold_everyone_once(database: Database) -> None:
    with database.write() as connection:
        for number in range(25):
            add_device(connection, number)
    seen, after = [], 0
    with database.read() as connection:
        while page := devices.page(connection, after=after, limit=10):
            seen += [one.device_id for one in page]
            after = page[-1].id
    assert seen == [f"device-{number}" for number in range(25)]


def test_only_open_waves_of_running_deployments_stand(database: Database) -> None:
    with database.write() as connection:
        first, second = add_device(connection, 1), add_device(connection, 2)
        one = add_deployment(connection, add_bundle(connection), {1: [first], 2: [second]})
        assert [row.device for row in heartbeats.standing(connection, [first.id, second.id])] == [first.id]
        deployments.open_wave(connection, one, 2)
        assert len(heartbeats.standing(connection, [first.id, second.id])) == 2
        deployments.end(connection, one, deployment_domain.Event.ABORT, reason="r", now_ms=5)
        assert heartbeats.standing(connection, [first.id, second.id]) == []


def test_a_wave_opens_once(database: Database) -> None:
    with database.write() as connection:
        one = add_deployment(connection, add_bundle(connection), {1: [add_device(connection, 1)]})
        deployments.open_wave(connection, one, 2)
        with pytest.raises(ConflictError):
            deployments.open_wave(connection, one, 2)


def test_an_assignment_moves_only_from_where_it_was_believed_to_be(database: Database) -> None:
    with database.write() as connection:
        device = add_device(connection, 1)
        add_deployment(connection, add_bundle(connection), {1: [device]})
        [row] = heartbeats.standing(connection, [device.id])
        heartbeats.apply(connection, [Change(row.id, State.PENDING, State.OFFERED, None)], now_ms=2)
        with pytest.raises(ConflictError):
            heartbeats.apply(connection, [Change(row.id, State.PENDING, State.SUCCEEDED, None)], now_ms=3)
        [after] = heartbeats.standing(connection, [device.id])
        assert after.state is State.OFFERED


def test_what_is_not_reported_keeps_its_value(database: Database) -> None:
    with database.write() as connection:
        device = add_device(connection, 1)
        one = add_deployment(connection, add_bundle(connection), {1: [device]})
        [row] = heartbeats.standing(connection, [device.id])
        failed = Change(row.id, State.PENDING, State.FAILED, "failed", "a 'quoted' \\ reason", {"speech": 0.25})
        heartbeats.apply(connection, [failed], now_ms=2)
        heartbeats.apply(connection, [Change(row.id, State.FAILED, State.FAILED, "failed")], now_ms=3)
        [stored] = deployments.assignment_page(connection, one, after=0, limit=10)
        assert stored.error_message == "a 'quoted' \\ reason"
        assert stored.metrics == {"speech": 0.25}


def test_what_a_heartbeat_reads_begins_with_the_batch_and_never_walks_a_table(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'kernex.db'}")
    database.migrate()
    asked: list[tuple[str, tuple[object, ...]]] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda _c, _cur, sql, values, *_: asked.append((sql, values))
    )
    with database.read() as connection:
        heartbeats.accepted(connection, [1])
        heartbeats.standing(connection, [1])
        heartbeats.reported(connection, [(1, "x")])
    reads = [(sql, values) for sql, values in asked if sql.startswith("SELECT")]
    assert len(reads) == 3
    with database.read() as connection:
        for sql, values in reads:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert plan[0].startswith("SCAN json_each"), plan
            assert all(step.startswith("SEARCH") for step in plan[1:]), plan
    database.close()


def test_only_accepted_devices_are_answered(database: Database) -> None:
    with database.write() as connection:
        accepted = add_device(connection, 1)
        pending = add_device(connection, 2, state=Admission.PENDING)
        revoked = add_device(connection, 3, state=Admission.REVOKED)
        assert set(heartbeats.accepted(connection, [accepted.id, pending.id, revoked.id, 99])) == {accepted.id}


def test_last_seen_never_goes_backwards(database: Database) -> None:
    with database.write() as connection:
        device = add_device(connection, 1)
        heartbeats.see(connection, [Seen(device.id, 100, "idle", 12.5, None)])
        heartbeats.see(connection, [Seen(device.id, 50, "late", None, None)])
        stored = devices.get(connection, "device-1")
        assert (stored.seen_ms, stored.activity, stored.cpu_pct) == (100, "idle", 12.5)


def test_a_device_says_what_changed_and_keeps_the_rest(database: Database) -> None:
    with database.write() as connection:
        device = add_device(connection, 1)
        heartbeats.describe(connection, [Said(device.id, '{"arch":"aarch64"}', None, "0.1.0")])
        heartbeats.describe(connection, [Said(device.id, None, '[{"name":"vad","version":"1"}]', None)])
        stored = devices.get(connection, "device-1")
        assert stored.facts == {"arch": "aarch64"}
        assert stored.apps == [{"name": "vad", "version": "1"}]
        assert stored.agent_version == "0.1.0"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.PENDING, State.CANCELLED),
        (State.OFFERED, State.CANCELLING),
        (State.INSTALLING, State.CANCELLING),
        (State.CANCELLING, State.CANCELLING),
        (State.SUCCEEDED, State.SUCCEEDED),
        (State.FAILED, State.FAILED),
    ],
)
def test_withdrawing_moves_every_state_as_the_table_says(database: Database, before: State, after: State) -> None:
    with database.write() as connection:
        one = add_deployment(connection, add_bundle(connection), {1: [add_device(connection, 1)]})
        connection.execute(text("UPDATE assignment SET state = :state"), {"state": before.value})
        deployments.withdraw(connection, one, actor="ana", now_ms=9)
        [stored] = deployments.assignment_page(connection, one, after=0, limit=10)
        assert stored.state is after
        told = events.of_deployment(connection, one.id)
        assert [event.kind for event in told] == ([f"assignment.{after}"] if after is not before else [])


def test_a_newer_deployment_takes_the_place_of_what_was_not_begun(database: Database) -> None:
    with database.write() as connection:
        waiting, busy, elsewhere = (add_device(connection, number) for number in range(3))
        old = add_deployment(connection, add_bundle(connection), {1: [waiting, busy, elsewhere]}, name="old")
        other = add_deployment(connection, add_bundle(connection, name="ocr"), {1: [waiting]}, name="other")
        connection.execute(text("UPDATE assignment SET state = 'installing' WHERE device = :busy"), {"busy": busy.id})
        new = add_deployment(connection, add_bundle(connection, "2.0.0"), {1: [waiting, busy]}, name="new")
        deployments.supersede(connection, new, 1, actor="ana", now_ms=9)
        stored = {one.device_id: one.state for one in deployments.assignment_page(connection, old, after=0, limit=9)}
        assert stored == {
            waiting.device_id: State.SUPERSEDED,
            busy.device_id: State.INSTALLING,
            elsewhere.device_id: State.PENDING,
        }
        [untouched] = deployments.assignment_page(connection, other, after=0, limit=9)
        assert untouched.state is State.PENDING


def test_tallies_count_by_wave_and_state(database: Database) -> None:
    with database.write() as connection:
        members = [add_device(connection, number) for number in range(5)]
        one = add_deployment(connection, add_bundle(connection), {1: members[:2], 2: members[2:]})
        connection.execute(
            text("UPDATE assignment SET state = 'succeeded' WHERE device = :device"), {"device": members[0].id}
        )
        assert deployments.tallies(connection, [one.id]) == {
            one.id: {1: {State.SUCCEEDED: 1, State.PENDING: 1}, 2: {State.PENDING: 3}}
        }


def test_a_lease_has_one_holder_until_it_ends(database: Database) -> None:
    def hold(holder: str, now_ms: int) -> bool:
        with database.write() as connection:
            return lease.hold(connection, "reconciler", holder, now_ms=now_ms, for_ms=100)

    assert hold("a", 0)
    assert not hold("b", 50)
    assert hold("a", 90)
    assert not hold("b", 150)
    assert hold("b", 191)
    assert not hold("a", 200)


def test_events_keep_their_order_and_detail(database: Database) -> None:
    with database.write() as connection:
        one = add_deployment(connection, add_bundle(connection), {1: [add_device(connection, 1)]})
        told = [
            events.Event(kind=f"k{number}", actor="ana", deployment=one.id, detail={"n": number, "text": "x\u2028'\""})
            for number in range(20)
        ]
        events.record(connection, told, now_ms=1)
        assert events.of_deployment(connection, one.id) == told
