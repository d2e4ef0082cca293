"""A `run.command`, supervised: kept running, its output bounded, nothing of it left when it is stopped."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.devices import alive, eventually

from kernex.agent import proc
from kernex.agent.apps import App, Apps
from kernex.agent.drivers import Condition
from kernex.agent.drivers.process import Footprint, ProcessDriver
from kernex.agent.sandbox import Sandbox
from kernex.agent.scripts import Release, Scripts
from kernex.agent.settings import Settings
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Manifest, Run

SETTINGS = Settings(restart_first_s=0.02, restart_longest_s=0.1, log_bytes=1000)


@pytest.fixture
def apps(quick_path: Path) -> Apps:
    return Apps(quick_path / "apps")


@pytest.fixture
def driver(apps: Apps) -> Iterator[ProcessDriver]:
    made = ProcessDriver(Scripts(SETTINGS, "workloads", Sandbox(SETTINGS, apps.root)), apps)
    yield made
    made.close()


def release(apps: Apps, script: str, digest: str = "a", **run: Any) -> Release:
    app = apps["vad"]
    app.prepare()
    manifest = Manifest("1.0.0", "vad", run=Run(["/bin/sh", "-c", script], **{"stop_timeout_s": 0.3, **run}))
    made = Release(app, Digest(digest * 64), manifest)
    made.path.mkdir(exist_ok=True)
    return made


def pid(app: App, name: str = "pid") -> int:
    path = app.data / name
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_a_workload_that_ends_is_started_again(apps: Apps, driver: ProcessDriver) -> None:
    driver.start(release(apps, "echo run >> $HOME/runs; exit 1"))
    runs = apps["vad"].data / "runs"
    assert eventually(lambda: runs.exists() and len(runs.read_text().splitlines()) >= 3)
    assert eventually(lambda: driver.state("vad").restarts >= 2)


@pytest.mark.parametrize(
    ("restart", "code", "again"),
    [("always", 0, True), ("on-failure", 1, True), ("on-failure", 0, False), ("never", 1, False)],
)
def test_the_restart_policy_decides(apps: Apps, driver: ProcessDriver, restart: str, code: int, again: bool) -> None:
    driver.start(release(apps, f"exit {code}", restart=restart))
    if again:
        assert eventually(lambda: driver.state("vad").restarts >= 1)
    else:
        assert eventually(lambda: driver.state("vad").condition is Condition.STOPPED)
        assert driver.state("vad").restarts == 0


def content(path: Path) -> bytes:
    """Of a log that may be turned over just now."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def test_its_log_is_bounded(apps: Apps, driver: ProcessDriver) -> None:
    driver.start(release(apps, "yes $KERNEX_VERSION | head -c 100000; sleep 300"))
    app = apps["vad"]
    older = app.root / "run.log.1"
    assert eventually(older.exists)
    assert eventually(lambda: b"1.0.0\n1.0.0" in content(app.log))
    driver.stop("vad")
    assert app.log.stat().st_size <= 1000
    assert older.stat().st_size <= 1000
    assert b"1.0.0\n1.0.0" in app.log.read_bytes()


def test_stopping_it_ends_its_whole_group_and_those_who_left_it(apps: Apps, driver: ProcessDriver) -> None:
    driver.start(
        release(apps, "trap '' TERM; sleep 300 & echo $! > $HOME/a; setsid sleep 300 & echo $! > $HOME/b; sleep 300")
    )
    children = [pid(apps["vad"], name) for name in "ab"]
    driver.stop("vad")
    assert not any(map(alive, children))
    assert not apps["vad"].footprint.exists()


def test_it_may_end_by_itself_when_it_is_stopped(apps: Apps, driver: ProcessDriver) -> None:
    script = "trap 'echo bye > $HOME/said; exit 0' TERM; echo $$ > $HOME/pid; while :; do sleep 0.01; done"
    driver.start(release(apps, script, stop_timeout_s=10))
    pid(apps["vad"])
    driver.stop("vad")
    assert (apps["vad"].data / "said").read_text() == "bye\n"


def test_starting_the_same_release_again_changes_nothing(apps: Apps, driver: ProcessDriver) -> None:
    wanted = release(apps, "echo $$ > $HOME/pid; exec sleep 300")
    driver.start(wanted)
    first = pid(apps["vad"])
    driver.start(wanted)
    assert pid(apps["vad"]) == first
    assert alive(first)


def test_starting_another_release_stops_the_one_before(apps: Apps, driver: ProcessDriver) -> None:
    driver.start(release(apps, "echo $$ > $HOME/pid; exec sleep 300"))
    first = pid(apps["vad"])
    driver.start(release(apps, "exec sleep 300", digest="b"))
    assert not alive(first)


def test_a_command_that_cannot_be_started_says_so(apps: Apps, driver: ProcessDriver) -> None:
    wanted = release(apps, "true")
    bad = Release(wanted.app, wanted.digest, Manifest("1.0.0", "vad", run=Run(["/no/such/program"])))
    with pytest.raises(RejectedError, match="cannot run '/no/such/program': No such file"):
        driver.start(bad)


def test_a_workload_whose_footprint_cannot_be_written_does_not_run(apps: Apps, driver: ProcessDriver) -> None:
    """The disk is full right after it was started: what nobody could find again must not stay."""
    wanted = release(apps, "exec sleep 300")
    before = {one.pid for one in proc.everybody()}

    def full(event: str, arguments: tuple[Any, ...]) -> None:
        if broken and event == "open" and str(arguments[0]).endswith(".run.json.new"):
            started = {one.pid for one in proc.everybody() if one.alive and one.parent == os.getpid()} - before
            if started:
                raise OSError(28, "No space left on device")

    broken = True
    sys.addaudithook(full)
    with pytest.raises(OSError, match="No space left"):
        driver.start(wanted)
    broken = False
    assert not any("sleep" in one for one in map(command_line, {p.pid for p in proc.everybody()} - before))


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_workload_that_outlived_its_agent_is_found_even_without_its_environment(
    apps: Apps, driver: ProcessDriver
) -> None:
    """Its footprint names the process by pid and start time; its session is ended with it."""
    script = (
        "setsid sleep 300 & echo $! > $HOME/child; echo $$ > $HOME/pid; exec env -i /bin/sh -c '/bin/sleep 300 & wait'"
    )
    driver.start(release(apps, script))
    survivor, child = pid(apps["vad"]), pid(apps["vad"], "child")
    path = apps["vad"].footprint
    assert eventually(lambda: msgspec.json.decode(path.read_bytes(), type=Footprint).pid == survivor)
    with driver._lock:  # the agent is gone, and with it all that it knew
        supervised = driver._running.pop("vad")
    supervised._stop.set()
    os.kill(survivor, signal.SIGSTOP)  # whatever state it is in
    driver.stop("vad")
    assert eventually(lambda: not alive(survivor))
    assert not alive(child)
    supervised.stop()


def test_a_footprint_of_a_process_that_is_gone_harms_nobody(apps: Apps, driver: ProcessDriver) -> None:
    app = apps["vad"]
    app.prepare()
    me = Footprint("nobody's", os.getpid(), started=1, boot="another boot")
    app.footprint.write_bytes(msgspec.json.encode(me))
    driver.stop("vad")
    assert not app.footprint.exists()


def test_a_footprint_that_cannot_be_read_is_dropped(apps: Apps, driver: ProcessDriver) -> None:
    apps["vad"].prepare()
    apps["vad"].footprint.write_bytes(b"{")
    driver.stop("vad")
    assert not apps["vad"].footprint.exists()


def test_the_driver_ends_all_workloads_at_once(apps: Apps, driver: ProcessDriver) -> None:
    for name in ("a", "b", "c"):
        made = release(apps, "trap '' TERM; echo $$ > $HOME/pid; sleep 300", stop_timeout_s=0.5)
        other = apps[name]
        other.prepare()
        other.release(made.digest).mkdir()
        driver.start(Release(other, made.digest, made.manifest))
    pids = [pid(apps[name]) for name in ("a", "b", "c")]
    began = time.monotonic()
    driver.close()
    assert time.monotonic() - began < 1.4
    assert not any(map(alive, pids))
