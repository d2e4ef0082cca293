"""Each tick: look at every running deployment, ask the domain what it should do next, and do that.

One process at a time does it, by lease. A tick may be cut anywhere: the next one sees what is there and
decides the same again, and the guards in SQL make a step that was taken before a conflict, not a repeat.
"""

import asyncio
import uuid

import structlog

from kernex.domain import deployment as domain
from kernex.domain.deployment import Abort, Complete, Hold, OpenWave
from kernex.domain.errors import ConflictError, UnavailableError
from kernex.server.clock import Clock, milliseconds
from kernex.server.deployments import end_early
from kernex.server.settings import Settings
from kernex.server.store import deployments as rows
from kernex.server.store import events, lease
from kernex.server.store.database import Database
from kernex.server.store.deployments import Deployment
from kernex.server.wakeups import Wakeups

log = structlog.get_logger()

ACTOR = "reconciler"
_LEASE_MS = 10_000


class Reconciler:
    """Ticks by itself and whenever something changed."""

    def __init__(self, database: Database, wakeups: Wakeups, settings: Settings, clock: Clock) -> None:
        self._database, self._wakeups, self._settings, self._clock = database, wakeups, settings, clock
        self._holder = str(uuid.uuid4())
        self._renew_ms = 0

    async def run(self) -> None:
        """Tick until cancelled."""
        woken = self._wakeups.subscribe()
        while True:
            await self._wakeups.wait(woken, self._settings.reconcile_interval_s)
            try:
                changed = await asyncio.to_thread(self.tick)
            except UnavailableError as error:
                log.warning("tick skipped", reason=str(error))
                continue
            if changed:
                self._wakeups.poke()

    def tick(self) -> bool:
        """Take every running deployment one step; whether anything changed."""
        if not self._leads():
            return False
        with self._database.read() as connection:
            running = rows.running(connection)
        changed = [self._step(one) for one in running]
        return any(changed)

    def _leads(self) -> bool:
        now_ms = milliseconds(self._clock)
        if now_ms < self._renew_ms:
            return True
        with self._database.write() as connection:
            held = lease.hold(connection, "reconciler", self._holder, now_ms=now_ms, for_ms=_LEASE_MS)
        self._renew_ms = now_ms + _LEASE_MS // 2 if held else 0
        return held

    def _step(self, one: Deployment) -> bool:
        with self._database.read() as connection:
            tallies = rows.tallies(connection, [one.id])[one.id]
        progress = domain.Progress(one.open_waves, [tallies[wave] for wave in sorted(tallies)], one.strategy)
        decision = domain.advance(progress)
        if isinstance(decision, Hold):
            return False
        try:
            self._do(one, decision)
        except ConflictError:
            return False  # somebody ended it, or another process was faster: the next tick looks again
        log.info("deployment moved", deployment=one.deployment_id, decision=decision)
        return True

    def _do(self, one: Deployment, decision: OpenWave | Abort | Complete) -> None:
        now_ms = milliseconds(self._clock)
        with self._database.write() as connection:
            match decision:
                case OpenWave(wave):
                    rows.open_wave(connection, one, wave)
                    rows.supersede(connection, one, wave, actor=ACTOR, now_ms=now_ms)
                    told = events.Event(
                        kind="deployment.wave_opened", actor=ACTOR, deployment=one.id, detail={"wave": wave}
                    )
                    events.record(connection, [told], now_ms=now_ms)
                case Abort(reason):
                    end_early(connection, one, reason, actor=ACTOR, now_ms=now_ms)
                case Complete():
                    rows.end(connection, one, domain.Event.COMPLETE, reason=None, now_ms=now_ms)
                    told = events.Event(kind="deployment.completed", actor=ACTOR, deployment=one.id)
                    events.record(connection, [told], now_ms=now_ms)
