"""The driver for `run.command`: a process that the agent itself starts, watches and starts again."""

import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from kernex import durable
from kernex.agent import proc, processes
from kernex.agent.apps import App, Apps
from kernex.agent.drivers import Condition, Health
from kernex.agent.output import RotatedFile
from kernex.agent.scripts import Release, Scripts, status
from kernex.agent.settings import Settings
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Run as Command

log = logging.getLogger(__name__)

_QUIET_GLANCE_S = 0.5


class Footprint(msgspec.Struct):
    """Beside the release, in ``run.json``: how to find the process again after the agent was killed."""

    mark: str
    pid: int = 0
    started: int = 0  # clock ticks since boot
    boot: str = ""


class ProcessDriver:
    """Supervises at most one process per app, each from a thread of its own."""

    def __init__(self, scripts: Scripts, apps: Apps) -> None:
        self._scripts, self._apps = scripts, apps
        self._lock = threading.Lock()
        self._running: dict[str, _Supervised] = {}

    def start(self, release: Release) -> None:
        name = release.app.name
        with self._lock:
            there = self._running.get(name)
        if there is not None and there.digest == release.digest and there.alive:
            return
        self.stop(name)
        if release.manifest.run is None:
            return
        supervised = _Supervised(release, release.manifest.run, self._scripts)
        supervised.start()
        with self._lock:
            self._running[name] = supervised

    def stop(self, app: str) -> None:
        with self._lock:
            supervised = self._running.pop(app, None)
        if supervised is not None:
            supervised.stop()
        forget(self._apps[app])

    def state(self, app: str) -> Health:
        with self._lock:
            supervised = self._running.get(app)
        return Health(Condition.RUNNING, 0) if supervised is None else supervised.health

    def close(self) -> None:
        with self._lock:
            everything = list(self._running.values())
            self._running.clear()
        for supervised in everything:
            supervised.ask_to_stop()
        for supervised in everything:
            supervised.stop()


def forget(app: App) -> None:
    """End whatever the app's footprint leads to: a process that outlived its agent."""
    path = app.footprint
    try:
        footprint = msgspec.json.decode(path.read_bytes(), type=Footprint)
    except FileNotFoundError:
        return
    except msgspec.MsgspecError as error:
        log.warning("cannot read %s: %s", path, error)
    else:
        if killed := processes.kill_all(lambda everybody: _orphans(footprint, everybody)):
            log.warning("%s: ended %d processes of an agent that was killed", app.name, len(killed))
    durable.remove(path)


def _orphans(footprint: Footprint, everybody: list[proc.Process]) -> set[int]:
    same_boot = footprint.boot == proc.boot_id()
    leader = any(same_boot and one.pid == footprint.pid and one.started == footprint.started for one in everybody)
    marked = {one.pid for one in everybody if processes.wears(one.pid, footprint.mark)}
    return marked | {one.pid for one in everybody if leader and footprint.pid in (one.pid, one.group, one.session)}


@dataclass(slots=True)
class _Backoff:
    """Seconds before the next start: doubling, and from the beginning once it stayed up for a while."""

    settings: Settings
    failures: int = 0

    def after(self, stayed_up_s: float) -> float:
        if stayed_up_s > self.settings.restart_longest_s:
            self.failures = 0
        self.failures += 1
        return float(min(self.settings.restart_longest_s, self.settings.restart_first_s * 2 ** min(self.failures, 30)))


class _Supervised:
    """One workload and the thread that keeps it running."""

    def __init__(self, release: Release, command: Command, scripts: Scripts) -> None:
        self._release, self._command, self._scripts = release, command, scripts
        self._settings = scripts.settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"run-{release.app.name}", daemon=True)
        self._health = Health(Condition.RUNNING, 0)
        self._begun: Future[processes.Run] = Future()
        self._run: processes.Run

    @property
    def digest(self) -> str:
        return self._release.digest

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def health(self) -> Health:
        return self._health

    def start(self) -> None:
        """Start it for the first time: a command that cannot be started at all is the caller's to know."""
        self._thread.start()
        self._run = self._begun.result()

    def ask_to_stop(self) -> None:
        self._stop.set()
        processes.terminate(self._run)

    def stop(self) -> None:
        self.ask_to_stop()
        self._thread.join()

    def _start(self) -> processes.Run:
        app, mark = self._release.app, processes.new_mark(self._scripts.mark)
        footprint = app.footprint
        durable.write(footprint, msgspec.json.encode(Footprint(mark)))
        try:
            run = self._scripts.start(self._command.command, self._release, mark=mark, merge_errors=True)
        except RejectedError:
            durable.remove(footprint)
            raise
        except OSError as error:
            durable.remove(footprint)
            raise RejectedError(f"cannot run {self._command.command[0]!r}: {error.strerror}") from None
        try:
            durable.write(footprint, msgspec.json.encode(Footprint(mark, run.pid, run.started, proc.boot_id())))
        except BaseException:
            processes.end(run, grace_s=0)  # nobody would know of it
            raise
        log.info("%s %s runs as process %d", app.name, self._release.manifest.version, run.pid)
        return run

    def _live(self) -> None:
        """The thread: it starts every process itself, because a process may end with the thread that started it."""
        try:
            self._run = self._start()
        except BaseException as error:  # noqa: BLE001 - the caller of `start` raises it
            self._begun.set_exception(error)
        else:
            self._begun.set_result(self._run)
            self._keep_running()

    def _keep_running(self) -> None:
        printed = RotatedFile(self._release.app.log, self._settings.log_bytes)
        backoff = _Backoff(self._settings)
        try:
            while True:
                code, stayed_up_s = self._watch(printed)
                if self._stop.is_set():
                    return
                if not _again(self._command, code):
                    self._health = self._health._replace(condition=Condition.STOPPED)
                    log.info("%s ended: %s", self._release.app.name, status(code))
                    return
                self._health = self._health._replace(condition=Condition.FAILING)
                if not self._start_again(code, backoff.after(stayed_up_s)):
                    return
        finally:
            printed.close()

    def _watch(self, printed: RotatedFile) -> tuple[int, float]:
        """Follow one process to its end: its status, and the seconds for which it was up."""
        began = time.monotonic()

        def write(data: bytes) -> None:
            with suppress(OSError):  # a full disk costs the log, not the workload
                printed.write(data)

        sinks = {pipe.fileno(): write for pipe in self._run.outputs}
        ended = processes.attend(self._run, sinks, until=self._stop.is_set, glance_s=_QUIET_GLANCE_S)
        processes.end(self._run, grace_s=0 if ended else self._command.stop_timeout_s)
        return processes.status(self._run), time.monotonic() - began

    def _start_again(self, code: int, delay_s: float) -> bool:
        """Start it anew after `delay_s`, trying until it can be started; False when told to stop."""
        while not self._stop.wait(delay_s):
            log.warning("%s is started again: %s", self._release.app.name, status(code))
            try:
                self._run = self._start()
            except (RejectedError, OSError) as error:
                log.warning("%s: %s", self._release.app.name, error)
                delay_s = self._settings.restart_longest_s
            else:
                self._health = Health(Condition.RUNNING, self._health.restarts + 1)
                return True
        return False


def _again(command: Command, code: int) -> bool:
    match command.restart:
        case "always":
            return True
        case "on-failure":
            return code != 0
        case _:
            return False
