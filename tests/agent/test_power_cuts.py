"""The power goes at every point of an install that matters; afterwards the device runs one whole release.

A cut is an exception that nothing catches: before and after every step, around every write of the
journal, before every change of the file system and before every program that is started. That what was
written is also on the disk is not simulated here: that is the crash suite's.
"""

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.agent import bundles
from tests.agent.bundles import Bundle

from kernex.agent import processes
from kernex.agent.apps import Apps
from kernex.agent.drivers.process import ProcessDriver
from kernex.agent.install import runner
from kernex.agent.install.journal import Journal
from kernex.agent.install.step import Ended, Step, Workplace
from kernex.agent.install.steps import STEPS
from kernex.agent.interrupt import Stop
from kernex.agent.sandbox import Sandbox
from kernex.agent.scripts import Scripts
from kernex.agent.settings import Settings
from kernex.bundle.descriptor import Descriptor
from kernex.bundle.verify import check_release
from kernex.domain.bundle import Digest
from kernex.domain.install import MAX_TRIES, Install, Phase


class PowerCut(BaseException):
    """Nothing runs any more."""


class Fuse:
    """Lets so many points pass, then cuts the power, once."""

    def __init__(self, points: int | None) -> None:
        self._left, self.passed = points, 0

    def point(self) -> None:
        self.passed += 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                raise PowerCut


#: Python's audit events that change the file system or start a program (see the table of PEP 578).
_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate", "subprocess.Popen"}


class Wires:
    """Where the power comes in: every change passes by here. A hook cannot be taken out, only cut off."""

    fuse: Fuse | None = None
    thread = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.fuse is None or threading.get_ident() != self.thread:
            return
        if event in _CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self.fuse.point()

    @contextmanager
    def through(self, fuse: Fuse) -> Iterator[None]:
        self.fuse, self.thread = fuse, threading.get_ident()
        try:
            yield
        finally:
            self.fuse = None


WIRES = Wires()
sys.addaudithook(WIRES)


class CuttingJournal(Journal):
    fuse: Fuse

    def write(self, install: Install) -> Install:
        self.fuse.point()
        written = super().write(install)
        self.fuse.point()
        return written


class Shelf:
    """A control plane's bundles, at hand."""

    def __init__(self, *given: Bundle) -> None:
        self._bundles = {bundle.version: bundle for bundle in given}

    def descriptor(self, bundle_id: str) -> bytes:
        return self._bundles[bundle_id].descriptor

    @contextmanager
    def archive(self, bundle_id: str, sha256: Digest, *, offset: int) -> Iterator["_Held"]:
        yield _Held(self._bundles[bundle_id].archive, offset)


class _Held:
    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self.offset = data, offset
        self.total_bytes: int | None = len(data)
        self._at = offset

    def read(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


SERVING = ["/bin/sh", "-c", 'echo $$ > "$KERNEX_DATA/pid"; exec sleep 300']
ASKING = f'kill -0 $(cat "$KERNEX_DATA/pid")\n{bundles.PASSING}'  # no verdict unless the workload is up
GOOD_BEFORE = bundles.release("1.0.0")
SCENARIOS: dict[str, tuple[Bundle, Phase, str]] = {
    "good": (bundles.release("2.0.0"), Phase.SUCCEEDED, "2.0.0"),
    "good, with a workload": (bundles.release("2.0.0", run=SERVING, probe=ASKING), Phase.SUCCEEDED, "2.0.0"),
    "probe fails": (bundles.release("2.0.0", probe=bundles.FAILING, rollback="true"), Phase.ROLLED_BACK, "1.0.0"),
    "script fails": (bundles.release("2.0.0", deploy=f"{bundles.MARKING}; exit 1"), Phase.ROLLED_BACK, "1.0.0"),
}


class Machine:
    """A device whose power can go. Each `boot` is a new process, as far as memory is concerned."""

    def __init__(self, root: Path, new: Bundle) -> None:
        self._root, self._new = root, new
        self.apps = Apps(root / "apps")
        for directory in (root / "downloads", root / "apps"):
            directory.mkdir(parents=True)

    @contextmanager
    def boot(self, fuse: Fuse) -> Iterator[tuple[CuttingJournal, Workplace]]:
        processes.sweep("cut")
        settings = Settings(disk_margin_bytes=1)
        scripts = Scripts(settings, "cut", Sandbox(settings, self._root))
        driver = ProcessDriver(scripts, self.apps)
        journal = CuttingJournal(self._root / "state.db")
        journal.fuse = fuse
        source = Shelf(GOOD_BEFORE, self._new)
        workplace = Workplace(
            apps=self.apps,
            downloads=self._root / "downloads",
            source=source,
            driver=driver,
            scripts=scripts,
            settings=scripts.settings,
            stop=Stop(),
            facts=dict,
        )
        try:
            yield journal, workplace
        finally:
            driver.close()
            journal.close()

    def install(self, bundle: Bundle, fuse: Fuse) -> Install:
        """Install, with a recovery for every cut: the runner goes on with what the journal says."""
        install = Install(
            deployment_id=bundle.version,
            app=bundle.name,
            bundle_id=bundle.version,
            version=bundle.version,
            digest=bundle.digest,
            archive_sha256=bundle.sha256,
            archive_bytes=len(bundle.archive),
            previous=self.apps[bundle.name].current,
        )
        with self.boot(Fuse(None)) as (journal, _):
            journal.write(install)
        while True:
            with self.boot(fuse) as (journal, workplace):
                found = journal.find(install.deployment_id)
                assert found is not None
                try:
                    with WIRES.through(fuse):
                        ended = runner.run(found, cutting(fuse), journal, workplace)
                        workplace.collect()
                    return ended
                except PowerCut:
                    self.check_between()

    def check_between(self) -> None:
        """Even right after the cut, before any recovery, `current` is one whole release."""
        current = self.apps["vad"].current
        assert current in {GOOD_BEFORE.digest, self._new.digest}
        for path in self.apps["vad"].releases.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                self.check_whole(Digest(path.name))

    def check_whole(self, digest: Digest) -> None:
        app = self.apps["vad"]
        descriptor = Descriptor.parse(app.descriptor(digest).read_bytes(), digest)
        assert check_release(app.release(digest), descriptor) == []


def cutting(fuse: Fuse) -> dict[Phase, Step]:
    def around(step: Step) -> Step:
        def cut(install: Install, workplace: Workplace) -> Ended:
            fuse.point()
            ended = step(install, workplace)
            fuse.point()
            return ended

        return cut

    return {phase: around(step) for phase, step in STEPS.items()}


def points_of(root: Path, bundle: Bundle) -> int:
    machine = Machine(root, bundle)
    machine.install(GOOD_BEFORE, Fuse(None))
    fuse = Fuse(None)
    machine.install(bundle, fuse)
    return fuse.passed


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_wherever_the_power_goes_one_whole_release_runs_and_the_outcome_is_right(
    quick_path: Path, scenario: str
) -> None:
    bundle, phase, version = SCENARIOS[scenario]
    points = points_of(quick_path / "count", bundle)
    assert points >= 60  # a scenario that is not cut is no test
    for point in range(points):
        machine = Machine(quick_path / str(point), bundle)
        machine.install(GOOD_BEFORE, Fuse(None))
        ended = machine.install(bundle, Fuse(point))
        where = f"cut at {point} of {points}"
        assert ended.phase is phase, (where, ended.error)
        app = machine.apps["vad"]
        expected = bundle.digest if phase is Phase.SUCCEEDED else GOOD_BEFORE.digest
        assert app.current == expected, where
        machine.check_whole(expected)
        assert (app.data / "works").read_text().strip() == version, where
        left = {path.name for path in app.releases.iterdir() if path.is_dir()}
        assert left == ({bundle.digest, GOOD_BEFORE.digest} if phase is Phase.SUCCEEDED else {GOOD_BEFORE.digest})


def test_a_release_that_takes_the_power_down_each_time_is_given_up_and_put_back(quick_path: Path) -> None:
    bundle = bundles.release("2.0.0")
    machine = Machine(quick_path / "machine", bundle)
    machine.install(GOOD_BEFORE, Fuse(None))
    entered = 0

    def deadly(install: Install, workplace: Workplace) -> Ended:
        nonlocal entered
        entered += 1
        raise PowerCut

    install = Install(
        deployment_id="d",
        app="vad",
        bundle_id="2.0.0",
        version="2.0.0",
        digest=bundle.digest,
        archive_sha256=bundle.sha256,
        archive_bytes=len(bundle.archive),
        previous=GOOD_BEFORE.digest,
    )
    with machine.boot(Fuse(None)) as (journal, _):
        journal.write(install)
    steps: dict[Phase, Any] = {**STEPS, Phase.PROBING: deadly}
    while True:
        with machine.boot(Fuse(None)) as (journal, workplace):
            found = journal.find("d")
            assert found is not None
            try:
                ended = runner.run(found, steps, journal, workplace)
                break
            except PowerCut:
                continue
    assert entered == MAX_TRIES
    assert (ended.phase, ended.error) == (Phase.ROLLED_BACK, "cannot get through probing: tried 3 times")
    assert machine.apps["vad"].current == GOOD_BEFORE.digest


def test_an_install_is_over_even_when_the_disk_fails_while_it_is_cleaned_up(quick_path: Path) -> None:
    """Or the thread that installs would end with it, and the agent be busy for ever."""
    machine = Machine(quick_path / "machine", GOOD_BEFORE)
    with machine.boot(Fuse(None)) as (_, workplace):
        workplace.downloads.rmdir()
        workplace.collect()


def test_a_step_that_fails_in_a_way_nobody_foresaw_is_reported(quick_path: Path) -> None:
    machine = Machine(quick_path / "machine", GOOD_BEFORE)

    def wrong(install: Install, workplace: Workplace) -> Ended:
        raise KeyError("surprise")

    with machine.boot(Fuse(None)) as (journal, workplace):
        install = journal.write(
            Install(
                deployment_id="d",
                app="vad",
                bundle_id="1.0.0",
                version="1.0.0",
                digest=GOOD_BEFORE.digest,
                archive_sha256=Digest(hashlib.sha256(b"").hexdigest()),
                archive_bytes=1,
                previous=None,
            )
        )
        ended = runner.run(install, {**STEPS, Phase.DOWNLOADING: wrong}, journal, workplace)
    assert (ended.phase, ended.error) == (Phase.FAILED, "cannot go on downloading: KeyError: 'surprise'")


def test_a_cancel_is_honoured_before_the_next_step_and_not_after_the_switch(quick_path: Path) -> None:
    for phase, expected in [(Phase.VERIFYING, Phase.CANCELLED), (Phase.COMMITTING, Phase.SUCCEEDED)]:
        machine = Machine(quick_path / phase, GOOD_BEFORE)
        ran = []

        def step(install: Install, workplace: Workplace) -> Ended:
            ran.append(install.phase)  # noqa: B023
            return Ended()

        with machine.boot(Fuse(None)) as (journal, workplace):
            workplace.stop.cancel()
            install = Install(
                deployment_id="d",
                app="vad",
                bundle_id="b",
                version="1",
                digest=GOOD_BEFORE.digest,
                archive_sha256=GOOD_BEFORE.sha256,
                archive_bytes=1,
                previous=None,
                phase=phase,
            )
            assert runner.run(install, dict.fromkeys(Phase, step), journal, workplace).phase is expected
        assert ran == ([] if expected is Phase.CANCELLED else [phase])
