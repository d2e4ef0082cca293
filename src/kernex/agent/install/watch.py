"""Watch releases on probation, and have the previous one put back when one breaks down."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from kernex.agent.drivers import Condition, Health
from kernex.agent.install.journal import Journal
from kernex.agent.install.step import Workplace
from kernex.agent.install.worker import Worker
from kernex.domain.errors import KernexError
from kernex.domain.install import Event, Install, Phase
from kernex.domain.probation import GoesOn, Passed, Probation, Regressed, condemned, judge

log = logging.getLogger(__name__)

_LONGEST_GLANCE_S = 1.0
_GLANCES, _SAVES = 20, 20  # at least so many in one probation; what was not saved when the agent is killed counts anew


@dataclass(slots=True)
class _Watched:
    """A probation as it is now, beside what the journal has of it."""

    now: Probation
    saved: Probation
    restarts_told: int  # by the driver, which counts from its own start


class Watch:
    """`health` says how an app's workload is. Looks on from a thread of its own: a release that breaks down
    is put back whether the network is there or not."""

    def __init__(self, workplace: Workplace, journal: Journal, worker: Worker, health: Callable[[str], Health]) -> None:
        self._workplace, self._journal, self._worker, self._health = workplace, journal, worker, health
        self._length_s = workplace.settings.probation_s
        self._glance_s = min(_LONGEST_GLANCE_S, self._length_s / _GLANCES)
        self._watched: dict[str, _Watched] = {}
        self._looked = time.monotonic()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="probation", daemon=True)

    def agent_started(self, unfinished: Install | None) -> frozenset[str]:
        """Count how the agent before this one ended, before anything else is started; while an install is
        unfinished that counts already, as a try. Returns the apps that had better stay down: each is put back
        as soon as nothing is being installed."""
        try:
            if self._journal.probations.all():
                self._journal.probations.agent_started(blame=unfinished is None)
            found = self._journal.probations.all()
        except KernexError as error:  # a disk that takes no more writes is no reason to run nothing
            log.error("cannot count this start: %s", error)  # noqa: TRY400 - one line an event
            found = []
        for one in found:
            self._watched[one.deployment_id] = _Watched(one, one, restarts_told=0)
        return frozenset(one.now.app for one in self._watched.values() if self._length_s and condemned(one.now))

    def agent_left(self) -> None:
        """The agent was told to end, so nobody is to blame for that."""
        with suppress(KernexError):
            if self._journal.probations.all():
                self._journal.probations.agent_left()

    def begin(self) -> None:
        """Look on until `end`."""
        self._thread.start()

    def wake(self) -> None:
        """An install ended: there may be a new probation."""
        self._wake.set()

    def end(self) -> None:
        """Once the agent quits."""
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Judge every probation as it is now. Whether there is any to come back to."""
        try:
            return self._look()
        except KernexError as error:
            log.error("cannot watch what is on probation: %s", error)  # noqa: TRY400 - one line an event
            return True

    def _look(self) -> bool:
        now = time.monotonic()
        elapsed_s, self._looked = now - self._looked, now
        probations = self._journal.probations.all()
        unfinished = self._journal.unfinished()
        for probation in probations:
            if unfinished is None or unfinished.app != probation.app:  # else it may not be what runs now
                self._judge(self._see(probation, elapsed_s))
        running = {one.deployment_id for one in probations}
        self._watched = {name: one for name, one in self._watched.items() if name in running}
        return bool(probations)

    def _look_on(self) -> None:
        while not self._workplace.stop.quitting:
            self._wake.clear()
            anything = self.look()
            if not self._workplace.stop.quitting:
                self._wake.wait(self._glance_s if anything else None)

    def _see(self, probation: Probation, elapsed_s: float) -> Probation:
        """Add what happened since the last look, and save it when it is much."""
        restarts = self._health(probation.app).restarts
        watched = self._watched.get(probation.deployment_id)
        if watched is None:
            watched = self._watched[probation.deployment_id] = _Watched(probation, probation, restarts)
            elapsed_s = 0.0  # it began after the last look
        new = restarts - watched.restarts_told if restarts >= watched.restarts_told else restarts
        watched.restarts_told = restarts
        watched.now = replace(
            watched.now, lasted_s=watched.now.lasted_s + elapsed_s, restarts=watched.now.restarts + new
        )
        if new or watched.now.lasted_s - watched.saved.lasted_s >= self._length_s / _SAVES:
            self._journal.probations.save(watched.now)
            watched.saved = watched.now
        return watched.now

    def _judge(self, probation: Probation) -> None:
        failing = self._health(probation.app).condition is Condition.FAILING
        match judge(probation, failing=failing, length_s=self._length_s):
            case GoesOn():
                pass
            case Passed():
                self._journal.probations.end(probation.deployment_id)
            case Regressed(reason):
                self._worker.begin(lambda: self._regressed(probation, reason))

    def _regressed(self, probation: Probation, reason: str) -> Install | None:
        install = self._journal.find(probation.deployment_id)
        if install is None or install.phase is not Phase.SUCCEEDED:
            self._journal.probations.end(probation.deployment_id)
            return None
        log.warning("%s %s: %s", install.app, install.version, reason)
        return self._journal.write(install.after(Event.REGRESS, error=reason))
