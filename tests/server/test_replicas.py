"""Two control planes over one PostgreSQL: no coordination but the database, and nothing happens twice."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.archives import bundle
from tests.control_plane import ControlPlane
from tests.simulated import SimulatedDevice

from kernex.server.store import deployments, events
from kernex.server.store.database import Database


@pytest.fixture
def database_url(postgresql: str) -> Iterator[str]:
    engine = create_engine(postgresql.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE replicas"))
    yield postgresql.replace("/postgres?", "/replicas?")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE replicas WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def replicas(database_url: str, tmp_path: Path) -> Iterator[tuple[ControlPlane, ControlPlane]]:
    blobs = ("--store-url", (tmp_path / "blobs").as_uri())
    with (
        ControlPlane.started(tmp_path / "one", *blobs, database_url=database_url) as one,
        ControlPlane.started(tmp_path / "two", *blobs, database_url=database_url) as two,
    ):
        yield one, two


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


def test_devices_may_speak_to_any_replica_and_waves_open_once(
    replicas: tuple[ControlPlane, ControlPlane], database_url: str
) -> None:
    one, two = replicas
    key = one.enrolment_key()
    stored = one.push(bundle("1.0.0"))
    devices = [one.device(key) for _ in range(6)]
    elsewhere = [SimulatedDevice(two.url) for _ in devices]
    for mine, other in zip(devices, elsewhere, strict=True):
        two.devices.append(other)
        other.act_as(mine)
    deployment_id = one.deploy(stored["bundle_id"], [device.device_id for device in devices], waves=[1, "50%", "100%"])

    def work(pair: tuple[SimulatedDevice, SimulatedDevice]) -> None:
        """A device whose heartbeats go to one replica and whose results go to the other."""
        asks, reports = pair
        until(lambda: bool(asks.commands()))
        assert reports.result(deployment_id, "success").status_code == 200

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, zip(devices, elsewhere, strict=True)))
    until(lambda: two.deployment(deployment_id)["status"] == "completed")
    assert one.deployment(deployment_id)["tally"] == {"succeeded": 6}
    database = Database(database_url)
    with database.read() as connection:
        told = [event.kind for event in events.of_deployment(connection, deployments.get(connection, deployment_id).id)]
    database.close()
    assert told.count("deployment.wave_opened") == 2
    assert told.count("deployment.completed") == 1
    assert told.count("assignment.succeeded") == 6


def test_a_device_that_waits_at_one_replica_hears_what_another_was_told(
    replicas: tuple[ControlPlane, ControlPlane],
) -> None:
    one, two = replicas
    device = one.device(one.enrolment_key())
    stored = two.push(bundle("1.0.0"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(device.heartbeat, wait_s=2)
        time.sleep(0.2)
        deployment_id = two.deploy(stored["bundle_id"], [device.device_id])
        [command] = waiting.result().json()["commands"]
    assert command["deployment_id"] == deployment_id


def test_another_replica_reconciles_when_the_one_that_did_is_gone(
    replicas: tuple[ControlPlane, ControlPlane],
) -> None:
    one, two = replicas
    key = one.enrolment_key()
    device = two.device(key)
    stored = two.push(bundle("1.0.0"))
    one.process.kill()
    deployment_id = two.deploy(stored["bundle_id"], [device.device_id])
    assert device.result(deployment_id, "success").status_code == 200
    until(lambda: two.deployment(deployment_id)["status"] == "completed")
