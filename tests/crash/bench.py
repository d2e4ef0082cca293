"""One device to be struck again and again: its control plane, its zygote, and a disk that is put back each time."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tests.agent import bundles
from tests.agent.devices import QUICK, Device
from tests.agent.fake_control_plane import FakeControlPlane, Handler
from tests.crash import invariant, zygote
from tests.crash.mounts import LoopMount
from tests.crash.points import NEVER, UNFORESEEN, Action, Life, Order, Point, Weakness
from tests.crash.scenarios import Scenario
from tests.crash.zygote import Zygote

from kernex.agent import processes
from kernex.agent.state import StateDirectory

#: Scripts are not contained here: how they are is another suite's, and it would take most of the time.
_SETTINGS = f'{QUICK}sandbox = "none"\n'
_IN_DISTRESS_S = 0.25  # for which an agent whose disk is full lives on before somebody turns it off
_FAILING = (Action.NO_SPACE, Action.IO_ERROR)


@dataclass(frozen=True, slots=True)
class Strike:
    """What is to happen in the first life, and in the second, which repairs what the first left."""

    action: Action
    point: Point
    again: Point = NEVER
    weakness: Weakness = Weakness.NONE

    def __str__(self) -> str:
        twice = f", then {self.action.name} {self.again}" if self.again != NEVER else ""
        weak = f", {self.weakness.name}" if self.weakness else ""
        return f"{self.action.name} {self.point}{twice}{weak}"


@dataclass(frozen=True, slots=True)
class Struck:
    """What came of it. `places` are the calls that were struck: none if the agent never got there."""

    strike: Strike
    places: tuple[str, ...]
    violations: tuple[str, ...]


class QuickHandler(Handler):
    """Answers in one go: small answers do not wait for each other."""

    disable_nagle_algorithm = True


@dataclass(frozen=True, slots=True)
class Stage:
    """A scenario made ready: the state directory that it starts from and what an undisturbed run comes to."""

    scenario: Scenario
    beginning: Path
    trace: tuple[str, ...]
    names_before: tuple[str, ...]
    names_after: tuple[str, ...]

    @property
    def points(self) -> list[Point]:
        return [Point(number, after) for number in range(1, len(self.trace) + 1) for after in (False, True)]


@dataclass(slots=True)
class Bench:
    """`root` is the device's state directory: in memory, or on a loop mount."""

    work: Path
    fake: FakeControlPlane
    zygote: Zygote
    enrolled: Path
    mount: LoopMount | None
    deployment_id: str = ""
    _stages: int = field(default=0)

    @classmethod
    @contextmanager
    def ready(cls, directory: Path, file_system: str = "") -> Iterator["Bench"]:
        """In a directory of its own below `directory`."""
        with ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory)))
            mount = stack.enter_context(LoopMount.made(file_system, work)) if file_system else None
            fake = stack.enter_context(FakeControlPlane.started())
            fake.server.RequestHandlerClass = QuickHandler
            device = Device.new(work / "enrolled", fake.url, _SETTINGS).enrolled()
            shutil.copytree(device.state.root, work / "warm")
            fake.offer(bundles.release("0.0.1"))
            shim = zygote.compiled(work)
            started = stack.enter_context(Zygote.started(shim, work / "warm", work / "agent.log"))
            yield cls(work, fake, started, device.state.root, mount)

    @property
    def root(self) -> Path:
        return (self.mount.directory if self.mount else self.work) / "state"

    def set(self, scenario: Scenario) -> Stage:
        """Make a scenario ready by running it, undisturbed. What is wrong even then is an AssertionError."""
        self._put(self.enrolled)
        for bundle in scenario.before:
            self._forget()
            deployment_id = self.fake.offer(bundle)
            self._live(Strike(Action.TRACE, NEVER))
            assert self.fake.outcomes[deployment_id].phase == "succeeded", self.fake.outcomes
        self._live(Strike(Action.TRACE, NEVER))
        self._stages += 1
        beginning = self.work / f"stage-{self._stages}"
        shutil.copytree(self.root, beginning, symlinks=True)
        self._begin(scenario, beginning)
        life = self._live(Strike(Action.TRACE, NEVER))
        self._live(Strike(Action.TRACE, NEVER))
        before, after = tuple(invariant.names(beginning)), tuple(invariant.names(self.root))
        stage = Stage(scenario, beginning, life.trace, before, after)
        violations = [*self._violations(stage, exact=True)]
        assert not violations, (scenario.name, violations)
        return stage

    def drop(self, stage: Stage) -> None:
        """Free what the stage takes."""
        shutil.rmtree(stage.beginning)

    def strike(self, stage: Stage, strike: Strike) -> Struck:
        """Begin anew, strike, start again, and look."""
        self._begin(stage.scenario, stage.beginning)
        lives = [self._live(strike)]
        places = [*lives[0].trace[:1]]
        violations = [f"after the strike: {one}" for one in self._power_on(stage.scenario)]
        if strike.again != NEVER:
            lives.append(self._live(Strike(strike.action, strike.again, weakness=strike.weakness)))
            places += lives[1].trace[:1]
            violations += [f"after the second strike: {one}" for one in self._power_on(stage.scenario)]
        last = Strike(Action.TRACE, NEVER, weakness=strike.weakness)
        repaired = [self._live(last), self._live(last)]
        if any(life.overdue for life in repaired):
            violations.append("a restarted agent did not come to an end")
        if any(life.status == UNFORESEEN for life in (*lives, *repaired)):
            words = (self.work / "agent.log").read_text(errors="replace")
            violations.append(
                f"an agent ended in a way that nobody foresaw: {words[words.rfind('Traceback') :][-900:]}"
            )
        violations += self._violations(stage, exact=strike.action not in _FAILING)
        return Struck(strike, tuple(places), tuple(violations))

    def _begin(self, scenario: Scenario, beginning: Path) -> None:
        self._put(beginning)
        self._forget()
        self.deployment_id = self.fake.offer(scenario.new)

    def _put(self, beginning: Path) -> None:
        if self.root.exists():
            shutil.rmtree(self.root)
        shutil.copytree(beginning, self.root, symlinks=True)
        if self.mount:
            self.mount.sync()

    def _forget(self) -> None:
        with self.fake.changed:
            for told in (self.fake.heartbeats, self.fake.results, self.fake.requests, self.fake.prefer):
                told.clear()
            for known in (self.fake.bundles, self.fake.commands, self.fake.outcomes, self.fake.tokens):
                known.clear()
            self.fake.nonces.clear()
            self.fake.mistakes.clear()

    def _live(self, strike: Strike) -> Life:
        order = Order(
            root=str(self.root),
            action=strike.action,
            at=strike.point.number,
            after=strike.point.after,
            weaknesses=strike.weakness,
            patience_s=_IN_DISTRESS_S if strike.action in _FAILING else 20.0,
        )
        if strike.action is Action.POWER_CUT and self.mount:
            order = msgspec.structs.replace(order, mount=str(self.mount.directory), device=self.mount.device)
        life = self.zygote.live(order)
        if life.trace and strike.action in (Action.KILL, Action.POWER_CUT):
            assert life.status == -signal.SIGKILL, f"{strike} did not strike: status {life.status}"
        return life

    def _power_on(self, scenario: Scenario) -> list[str]:
        """After a power cut nothing runs and the disk is what it is; after a kill the rest of the device goes on."""
        if self.mount:
            processes.sweep(StateDirectory(self.root).mark)
            self.mount.again()
        return list(invariant.at_any_time(scenario, self.root))

    def _violations(self, stage: Stage, *, exact: bool) -> Iterator[str]:
        yield from invariant.in_the_end(
            stage.scenario, self.root, self.deployment_id, self.fake, exact=exact, marked=self.mount is None
        )
        outcome = self.fake.outcomes.get(self.deployment_id)
        if outcome is not None:
            succeeded = outcome.phase == "succeeded"
            restored = stage.names_after if outcome.phase is stage.scenario.expected else stage.names_before
            yield from invariant.left(self.root, stage.names_after if succeeded else restored)
