"""The batching worker: what one message or another process does must cost no other device its answer."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.server.rows import add_bundle, add_deployment, add_device

from kernex.domain.assignment import Event, State
from kernex.domain.errors import DeniedError, KernexError
from kernex.domain.install import Phase
from kernex.server.access import DeviceIdentity
from kernex.server.answers import Answer, Reported
from kernex.server.heartbeats import Heartbeats, _Beat
from kernex.server.settings import Settings
from kernex.server.store import deployments, heartbeats
from kernex.server.store.database import Database
from kernex.server.store.devices import Device
from kernex.server.store.heartbeats import Change, Said
from kernex.server.wakeups import Wakeups
from kernex.wire.device import Deploy


def beat(device: Device, *reports: Reported) -> _Beat:
    return _Beat(DeviceIdentity(device.id, device.device_id), list(reports))


def worker(database: Database, directory: Path, kind: type[Heartbeats] = Heartbeats) -> Heartbeats:
    return kind(database, Wakeups(), Settings(data_dir=directory), lambda: 1.0)


def test_a_message_that_breaks_its_batch_is_answered_alone(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        hostile, innocent = add_device(connection, 1), add_device(connection, 2)
        add_deployment(connection, add_bundle(connection), {1: [innocent]})

    async def answer() -> list[object]:
        unheard_of = Reported("\ud800", Event.SUCCEED, Phase.SUCCEEDED)  # half a character: no JSON can carry it
        return list(worker(database, tmp_path)._answer([beat(hostile, unheard_of), beat(innocent)]))

    broken, commands = asyncio.run(answer())
    assert isinstance(broken, Exception)
    assert isinstance(commands, list)
    assert [type(command) for command in commands] == [Deploy]


class Raced(Heartbeats):
    """Another process is faster once: it moves the row between this one's reading and its writing."""

    raced = False

    def _write(self, decided: Sequence[Answer | KernexError], news: Sequence[Said]) -> None:
        if not self.raced:
            self.raced = True
            with self._database.write() as connection:
                heartbeats.apply(connection, [Change(1, State.PENDING, State.OFFERED, None)], now_ms=1)
        super()._write(decided, news)


def test_a_row_that_moved_meanwhile_is_read_again(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        device = add_device(connection, 1)
        one = add_deployment(connection, add_bundle(connection), {1: [device]})

    async def answer() -> list[object]:
        report = Reported(one.deployment_id, Event.SUCCEED, Phase.SUCCEEDED)
        return list(worker(database, tmp_path, Raced)._answer([beat(device, report)]))

    assert asyncio.run(answer()) == [[]]
    with database.read() as connection:
        [share] = deployments.assignment_page(connection, one, after=0, limit=2)
    assert share.state is State.SUCCEEDED


def test_a_row_number_without_its_device_is_nobody(database: Database, tmp_path: Path) -> None:
    """After a restore a number may be given anew: a token from before must not act for the new device."""
    with database.write() as connection:
        device = add_device(connection, 1)

    async def answer() -> list[object]:
        stale = _Beat(DeviceIdentity(device.id, "device-of-before"), [])
        return list(worker(database, tmp_path)._answer([stale]))

    [refused] = asyncio.run(answer())
    assert isinstance(refused, DeniedError)
