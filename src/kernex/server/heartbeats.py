"""Heartbeats, answered in batches: one transaction for all that waited, the cost shared by all.

A request parks in `submit`; one worker drains the queue, reads what all these devices owe, decides
(`kernex.server.answers`), writes once and answers. While one batch is in the database the next one
gathers, so load makes batches larger instead of queues longer. An idle heartbeat writes nothing at
once: when a device was last heard of is written behind.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from kernex.domain.errors import ConflictError, DeniedError, KernexError, UnavailableError
from kernex.server import answers
from kernex.server.access import DeviceIdentity
from kernex.server.answers import Answer, Reported
from kernex.server.clock import Clock, milliseconds
from kernex.server.settings import Settings
from kernex.server.store import events
from kernex.server.store import heartbeats as rows
from kernex.server.store.database import Database
from kernex.server.store.heartbeats import Accepted, Assigned, Said, Seen
from kernex.server.text import check_metadata, clean, json_text
from kernex.server.wakeups import Wakeups
from kernex.wire.device import Command, Heartbeat, HeartbeatReply

log = structlog.get_logger()

MAX_BATCH = 4096  # heartbeats in one transaction
MAX_WAITING = 65_536  # heartbeats in the queue; beyond that a device is told to come back
_ATTEMPTS = 5  # of a batch whose rows changed between reading and writing
_LOOK_AGAIN_S = 1.0  # parked devices are looked at this often, for what other processes changed


@dataclass(slots=True, eq=False)
class _Beat:
    device: DeviceIdentity
    reports: list[Reported]
    explicit: bool = False  # a result: its sender has to hear of a contradiction
    heartbeat: Heartbeat | None = None
    at_work: frozenset[str] = frozenset()
    done: asyncio.Future[list[Command]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


_Outcome = list[Command] | Exception


class Heartbeats:
    """The batching worker. `run` in the loop that serves; `submit` and `report` from its requests."""

    def __init__(self, database: Database, wakeups: Wakeups, settings: Settings, clock: Clock) -> None:
        self._database, self._wakeups, self._settings, self._clock = database, wakeups, settings, clock
        self._queue: list[_Beat] = []
        self._arrived = asyncio.Event()
        self._parked: dict[int, _Beat] = {}  # by device row: the newest long-poll of each
        self._seen: dict[int, Seen] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heartbeats")

    async def submit(self, device: DeviceIdentity, heartbeat: Heartbeat, wait_s: float = 0.0) -> HeartbeatReply:
        """Answer one heartbeat. With `wait_s` the answer comes as soon as there is a command, or then."""
        if heartbeat.facts is not None:
            check_metadata("facts", heartbeat.facts)
        reports = list({one.deployment_id: Reported.of(one) for one in heartbeat.installs or []}.values())
        at_work = frozenset(one.deployment_id for one in reports)
        beat = _Beat(device, reports, heartbeat=heartbeat, at_work=at_work)
        commands = await (self._answered(beat) if wait_s <= 0 else self._waited(beat, wait_s))
        return HeartbeatReply(commands, self._settings.heartbeat_interval_s, self._settings.long_poll_s)

    async def report(self, device: DeviceIdentity, reported: Reported) -> None:
        """Take one result. Raises DeniedError when the device is no target, ConflictError when another
        outcome is recorded already. A heartbeat that waits is let go: its device has news to tell."""
        await self._answered(_Beat(device, [reported], explicit=True))
        self._let_go(device.id)

    def release(self) -> None:
        """Answer every parked device now, with nothing to do. Any thread or signal handler may ask."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        for device in list(self._parked):
            self._let_go(device)

    def _let_go(self, device: int) -> None:
        beat = self._parked.pop(device, None)
        if beat is not None and not beat.done.done():
            beat.done.set_result([])

    async def run(self) -> None:
        """Work until cancelled; then write what was kept back."""
        self._loop = asyncio.get_running_loop()
        tasks = [self._drain(), self._write_behind(), self._look_at_parked()]
        try:
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(task)
        finally:
            self._thread.shutdown()
            self._flush()

    async def _answered(self, beat: _Beat) -> list[Command]:
        if len(self._queue) >= MAX_WAITING:
            raise UnavailableError("cannot answer now: too many heartbeats wait", retry_after_s=30)
        self._queue.append(beat)
        self._arrived.set()
        return await beat.done

    async def _waited(self, beat: _Beat, wait_s: float) -> list[Command]:
        """The answer to `beat`, or the first command after it. What will wait is parked before `beat` is
        answered, so that nothing that happens in between is missed."""
        parked = _Beat(beat.device, [], at_work=beat.at_work)
        self._let_go(beat.device.id)
        self._parked[beat.device.id] = parked
        try:
            return await self._answered(beat) or await asyncio.wait_for(parked.done, wait_s)
        except TimeoutError:
            return []
        finally:
            if self._parked.get(beat.device.id) is parked:
                del self._parked[beat.device.id]
            parked.done.cancel()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                beats, self._queue = _next_batch(self._queue)
                outcomes = await loop.run_in_executor(self._thread, self._answer, beats)
                for beat, outcome in zip(beats, outcomes, strict=True):
                    self._settle(beat, outcome)

    def _settle(self, beat: _Beat, outcome: _Outcome) -> None:
        if beat.done.done():
            return
        if isinstance(outcome, Exception):
            beat.done.set_exception(outcome)
        elif outcome or self._parked.get(beat.device.id) is not beat:
            beat.done.set_result(outcome)

    async def _look_at_parked(self) -> None:
        woken = self._wakeups.subscribe()
        while True:
            await self._wakeups.wait(woken, _LOOK_AGAIN_S)
            waiting = set(self._queue)
            self._queue += [beat for beat in self._parked.values() if beat not in waiting]
            if self._queue:
                self._arrived.set()

    async def _write_behind(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.live_flush_interval_s)
            await loop.run_in_executor(self._thread, self._flush)

    # In the thread

    def _answer(self, beats: Sequence[_Beat]) -> list[_Outcome]:
        """An outcome for each. A message that nobody foresaw must not cost other devices their answer: the
        batch that it broke is answered one by one."""
        try:
            return self._retried(beats)
        except UnavailableError as error:
            return [error] * len(beats)
        except Exception as error:
            if len(beats) > 1:
                return [outcome for beat in beats for outcome in self._answer([beat])]
            if not isinstance(error, KernexError):
                log.exception("a heartbeat could not be answered", device=beats[0].device.device_id)
            return [error]

    def _retried(self, beats: Sequence[_Beat]) -> list[_Outcome]:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._once(beats)
            except ConflictError:
                continue  # another process moved one of these rows: read again
        return self._once(beats)

    def _once(self, beats: Sequence[_Beat]) -> list[_Outcome]:
        ids = sorted({beat.device.id for beat in beats})
        reports = sorted({(beat.device.id, one.deployment_id) for beat in beats for one in beat.reports})
        with self._database.read() as connection:
            accepted = rows.accepted(connection, ids)
            known = rows.reported(connection, reports) if reports else []
            standing = rows.standing(connection, ids)
        by_report = {(one.device, one.deployment_id): one for one in known}
        owed: dict[int, list[Assigned]] = {}
        for one in standing:
            owed.setdefault(one.device, []).append(one)
        decided = [_decide(beat, accepted, by_report, owed.get(beat.device.id, [])) for beat in beats]
        self._remember(beats, accepted)
        self._write(decided, _news(beats, accepted))
        return [one.commands if isinstance(one, Answer) else one for one in decided]

    def _write(self, decided: "Sequence[Answer | KernexError]", news: Sequence[Said]) -> None:
        given = [one for one in decided if isinstance(one, Answer)]
        changes = [change for answer in given for change in answer.changes]
        told = [event for answer in given for event in answer.told]
        if changes or told or news:
            now_ms = milliseconds(self._clock)
            with self._database.write() as connection:
                rows.apply(connection, changes, now_ms=now_ms)
                rows.describe(connection, news)
                events.record(connection, told, now_ms=now_ms)
        if any(answer.ends_something for answer in given):
            self._wakeups.poke()

    def _remember(self, beats: Sequence[_Beat], accepted: dict[int, Accepted]) -> None:
        now_ms = milliseconds(self._clock)
        for beat in beats:
            if (heartbeat := beat.heartbeat) is not None and beat.device.id in accepted:
                self._seen[beat.device.id] = Seen(
                    beat.device.id, now_ms, clean(heartbeat.status), heartbeat.cpu_pct, heartbeat.memory_mb
                )

    def _flush(self) -> None:
        if not self._seen:
            return
        seen, self._seen = self._seen, {}
        try:
            with self._database.write() as connection:
                rows.see(connection, list(seen.values()))
        except UnavailableError as error:
            self._seen = seen | self._seen
            log.warning("last-seen times kept back", reason=str(error), devices=len(seen))


def _next_batch(queue: list[_Beat]) -> tuple[list[_Beat], list[_Beat]]:
    """The next batch and what stays: a device is in a batch once, so that each of its messages is judged
    by what the one before left."""
    batch: dict[int, _Beat] = {}
    left = []
    for beat in queue:
        if beat.device.id in batch or len(batch) >= MAX_BATCH:
            left.append(beat)
        else:
            batch[beat.device.id] = beat
    return list(batch.values()), left


def _decide(
    beat: _Beat,
    accepted: dict[int, Accepted],
    by_report: dict[tuple[int, str], Assigned],
    owed: Sequence[Assigned],
) -> Answer | KernexError:
    there = accepted.get(beat.device.id)
    if there is None or there.device_id != beat.device.device_id:  # a restored database may number anew
        return DeniedError("cannot act for this device: it is not accepted here")
    mine = {
        one.deployment_id: by_report[key]
        for one in beat.reports
        if (key := (beat.device.id, one.deployment_id)) in by_report
    }
    if not beat.explicit:
        return answers.answer(beat.reports, mine, owed, beat.at_work, beat.device.id)
    return answers.refusal(beat.reports[0], mine) or answers.hear(beat.reports, mine, beat.device.id)


def _news(beats: Sequence[_Beat], accepted: dict[int, Accepted]) -> list[Said]:
    """What devices say of themselves and what is not stored yet."""
    news = []
    for beat in beats:
        there, heartbeat = accepted.get(beat.device.id), beat.heartbeat
        if there is None or heartbeat is None:
            continue
        before = there.said
        said = Said(
            beat.device.id,
            None if heartbeat.facts is None else json_text(heartbeat.facts),
            None if heartbeat.apps is None else json_text(heartbeat.apps),
            clean(heartbeat.agent_version) or None,
        )
        if (
            said.facts not in (None, before.facts)
            or said.apps not in (None, before.apps)
            or said.agent_version not in (None, before.agent_version)
        ):
            news.append(said)
    return news
