"""The loop: say where the device is, hear what it should be doing, do it, say so until it is heard.

Nothing that the control plane says can end it, and nothing that it says twice is done twice: the journal
knows every deployment that this device began.
"""

import logging
import random
import threading
import time
from dataclasses import replace
from typing import Any

import msgspec

import kernex
from kernex.agent import commands, pace, processes, reports
from kernex.agent.control_plane import ControlPlane
from kernex.agent.facts import Vitals
from kernex.agent.install.journal import Journal
from kernex.agent.install.step import Workplace
from kernex.agent.install.watch import Watch
from kernex.agent.install.worker import Worker
from kernex.agent.installed import Installed
from kernex.domain.errors import KernexError, UnavailableError
from kernex.domain.install import Install
from kernex.wire.device import Heartbeat, InstallReport, ReceivedReply

log = logging.getLogger(__name__)

_MOST_INSTALLS = 60  # in one heartbeat; the wire takes 64
_MOST_ANSWERS = 16  # to commands that leave no trace in the journal


class Agent:
    """One device. `run` is its life; `quit` may be called from any thread."""

    def __init__(
        self, device_id: str, control_plane: ControlPlane, journal: Journal, workplace: Workplace, installed: Installed
    ) -> None:
        self._device_id, self._control_plane, self._journal = device_id, control_plane, journal
        self._workplace, self._installed = workplace, installed
        self._worker = Worker(workplace, journal, self._ended, self._wake_up)
        self._watch = Watch(workplace, journal, self._worker, installed.health)
        self._stop, self._wake = workplace.stop, threading.Event()
        self._vitals = Vitals()
        self._facts_told: dict[str, Any] | None = None
        self._answers: dict[str, InstallReport] = {}
        self._not_understood: list[str] = []
        self._failures = self._early = 0
        settings = workplace.settings
        self._limits = pace.Limits(
            settings.heartbeat_floor_s, settings.heartbeat_busy_s, settings.backoff_first_s, settings.backoff_longest_s
        )

    def run(self) -> None:
        """Until `quit`."""
        self._recover()
        self._watch.begin()
        following = pace.Next(0.0)
        while not self._stop.quitting:
            following = self.beat(following.wait_s)
            self._wake.wait(following.delay_s)
            self._wake.clear()
        self._leave()

    def run_once(self) -> bool:
        """One heartbeat, and the install that it asks for, to its end. Whether the control plane heard it."""
        self._recover()
        self.beat(0.0)
        while self._worker.busy and not self._stop.quitting:
            self._worker.join(0.1)
        if self._journal.unacknowledged() and not self._stop.quitting:
            self.beat(0.0)
        self._leave()
        return not self._failures

    def quit(self) -> None:
        """Let go of everything, soon. Workloads are stopped; the journal knows where to go on."""
        self._stop.quit()
        self._wake.set()
        self._control_plane.hang_up()

    def beat(self, wait_s: float) -> pace.Next:
        """One heartbeat that may be held back for `wait_s`, and what its answer asks for."""
        began = time.monotonic()
        chance = random.random()  # noqa: S311 - spreads the fleet; not security
        try:
            heartbeat = self._heartbeat()
            reply = self._control_plane.heartbeat(heartbeat, wait_s=wait_s)
            self._heard(heartbeat)
            for raw in reply.commands:
                self._obey(raw)
        except (KernexError, OSError) as error:
            self._failures += 1
            retry_after_s = error.retry_after_s if isinstance(error, UnavailableError) else None
            delay_s = pace.after_error(self._failures, retry_after_s, chance=chance, limits=self._limits)
            if not self._stop.quitting:
                log.warning("%s; again in %.1f s", error, delay_s)
            return pace.Next(delay_s)
        return self._following(reply, time.monotonic() - began, wait_s, chance)

    def _following(self, reply: ReceivedReply, took_s: float, wait_s: float, chance: float) -> pace.Next:
        if self._failures:
            log.info("the control plane answers again")
        self._failures = 0
        self._early = self._early + 1 if wait_s and pace.came_early(took_s, wait_s) else 0
        return pace.after_reply(
            reply.next_heartbeat_s,
            reply.long_poll_s,
            took_s=took_s,
            waited_s=wait_s,
            early=self._early,
            chance=chance,
            limits=self._limits,
        )

    def _heartbeat(self) -> Heartbeat:
        processes.collect_orphans()
        self._workplace.ballast.keep()
        unfinished = self._journal.unfinished()
        installs = [reports.install_report(unfinished, self._worker.bytes_done)] if unfinished else []
        installs += [*self._answers.values(), *map(reports.install_report, self._journal.unacknowledged())]
        facts = self._workplace.facts()
        return reports.fit(
            Heartbeat(
                agent_version=kernex.__version__,
                status="installing" if unfinished else "idle",
                cpu_pct=self._vitals.cpu_pct(),
                memory_mb=self._vitals.memory_mb(),
                facts=facts if facts != self._facts_told else None,
                apps=self._installed.reports(),
                installs=installs[:_MOST_INSTALLS] or None,
                unknown_commands=reports.types(self._not_understood),
            )
        )

    def _heard(self, heartbeat: Heartbeat) -> None:
        """A 2xx: what this heartbeat carried is durable on the other side."""
        if heartbeat.facts is not None:
            self._facts_told = heartbeat.facts
        self._not_understood.clear()
        if confirmed := reports.acknowledged(heartbeat):
            self._journal.acknowledge(confirmed)
            for deployment_id, _ in confirmed:
                self._answers.pop(deployment_id, None)

    def _obey(self, raw: msgspec.Raw) -> None:
        command = commands.read(raw)
        deployment_id = getattr(command, "deployment_id", None)
        known = self._journal.find(deployment_id) if deployment_id else None
        match commands.decide(command, known, busy=self._worker.busy):
            case commands.Begin(install):
                self._begin(install)
            case commands.StopInstall():
                log.info("the deployment %s is withdrawn", deployment_id)
                self._worker.cancel()
            case commands.Repeat(ended):
                self._journal.repeat(ended)
            case commands.Answer(report):
                if len(self._answers) < _MOST_ANSWERS:
                    self._answers[report.deployment_id] = report
                log.warning("deployment %s: %s %s", report.deployment_id, report.phase, report.error or "")
            case commands.NotUnderstood(type_):
                log.warning("cannot obey the command %.64r: this agent does not know it", type_)
                self._not_understood.append(type_)
            case commands.NotNow():
                pass

    def _begin(self, install: Install) -> None:
        """Remember what runs before anything changes, then begin."""

        def written() -> Install:
            log.info("%s %s: deployment %s begins", install.app, install.version, install.deployment_id)
            return self._journal.write(replace(install, previous=self._workplace.app(install).current))

        self._worker.begin(written)

    def _ended(self, install: Install) -> None:
        """Send the outcome at once. If that fails, heartbeats repeat it."""
        try:
            message = reports.result(reports.install_report(install), self._device_id)
            self._control_plane.result(install.deployment_id, message)
            self._journal.acknowledge([(install.deployment_id, install.phase)])
        except KernexError as error:
            log.info("the outcome waits for a heartbeat: %s", error)

    def _wake_up(self) -> None:
        self._watch.wake()
        self._wake.set()

    def _recover(self) -> None:
        """Go on where the last agent stopped, however it stopped. What the journal says is believed."""
        if left := processes.sweep(self._workplace.scripts.mark):
            log.warning("ended %d processes of an agent that was killed", left)
        unfinished = self._journal.unfinished()
        self._installed.start(unfinished, self._watch.agent_started(unfinished))
        if unfinished is None:
            self._workplace.collect()
            self._watch.look()
        else:
            log.info("%s %s: goes on with %s", unfinished.app, unfinished.version, unfinished.phase)
            self._worker.begin(lambda: unfinished)

    def _leave(self) -> None:
        self._stop.quit()
        self._watch.end()
        self._worker.join()
        self._watch.agent_left()
        self._workplace.driver.close()
        self._control_plane.close()
