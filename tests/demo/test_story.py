"""The whole demo: it tells its story, ends by itself, leaves nothing running, and tells nothing that is not so."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.command import environment
from tests.cli.samples import assignment, snapshot

from kernex.cli.demo import story
from kernex.cli.demo.bundles import FIXED, GOOD, Release
from kernex.cli.demo.stage import DEVICES, Stage
from kernex.cli.demo.story import AnotherStoryError
from kernex.cli.watch import Snapshot

DEMO = [sys.executable, "-m", "kernex.cli", "demo"]


def processes_of(directory: Path) -> list[int]:
    """Everything that has to do with a directory: by its command line, its environment or where it is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                about = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                about += os.fsencode((entry / "cwd").readlink())
            except OSError:  # it ended meanwhile
                continue
            if os.fsencode(directory) in about:
                found.append(int(entry.name))
    return found


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_a_bad_model_is_put_back_and_the_fixed_one_reaches_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--once"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=environment(TMPDIR=str(tmp_path)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    assert "8/8 run vad==1.0.0; their probes measured 90 % speech" in told
    assert "the probe measured 0 % speech (needs 80 %)" in told
    assert "is back on 1.0.0" in told
    assert "the other 7 devices were not touched" in told
    assert "8/8 run vad==2.0.1; their probes measured 86 % speech" in told
    assert "17 on 8 devices, 3927 inferences" in told
    assert "8/8 on vad==2.0.1" in told
    assert "\x1b" not in told
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_nothing_is_left_running(tmp_path: Path, way: signal.Signals) -> None:
    with subprocess.Popen(
        [*DEMO, "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "installing" in line:
                break
        assert len(processes_of(tmp_path)) > DEVICES
        demo.send_signal(way)
        demo.communicate(timeout=60)
    assert demo.returncode == {signal.SIGKILL: -signal.SIGKILL}.get(way, 130)
    wait_until(lambda: processes_of(tmp_path) == [], 30 if way is signal.SIGKILL else 0.1)


@pytest.mark.timeout(120)
def test_whoever_leaves_the_stage_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "edge-01  ✔ succeeded" in line:
                break
        agent = next(pid for pid in processes_of(tmp_path / "edge-01") if _runs(pid, "kernex.agent"))
        os.kill(agent, signal.SIGKILL)
        _, said = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert said.startswith("error: cannot go on: edge-01 ended: ")
    assert processes_of(tmp_path) == []


def _runs(pid: int, program: str) -> bool:
    return os.fsencode(program) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_a_directory_with_something_in_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = subprocess.run([*DEMO, "--once", "--data-dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("error: cannot start the demo in ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def _ended(state: str, speech: float, *, others: str, phase: str | None = None, status: str) -> Snapshot:
    canary = assignment(1, state, metrics={"speech": speech, "frames": 231.0})
    rest = [assignment(number, others, wave=2, phase=phase) for number in range(2, DEVICES + 1)]
    return snapshot(canary, *rest, settled=True, status=status)


@pytest.mark.parametrize(
    "last",
    [
        _ended("succeeded", 0.9, others="succeeded", status="completed"),
        _ended("rolled_back", 0.9, others="cancelled", status="aborted"),
        _ended("broken", 0.0, others="cancelled", status="aborted"),
        _ended("rolled_back", 0.0, others="cancelled", status="completed"),
        _ended("rolled_back", 0.0, others="succeeded", status="aborted"),
        _ended("rolled_back", 0.0, others="cancelled", phase="staging", status="aborted"),
    ],
)
def test_a_bad_release_that_is_not_put_back_is_no_story(tmp_path: Path, last: Snapshot) -> None:
    with pytest.raises(AnotherStoryError, match=r"^cannot tell the story: it needs that "):
        story._put_back(Stage(tmp_path), last)


@pytest.mark.parametrize("release", [GOOD, FIXED])
@pytest.mark.parametrize(
    "last",
    [
        _ended("succeeded", 0.9, others="succeeded", status="aborted"),
        _ended("rolled_back", 0.9, others="succeeded", status="completed"),
        _ended("succeeded", 0.1, others="succeeded", status="completed"),
    ],
)
def test_a_good_release_that_does_not_reach_all_is_no_story(tmp_path: Path, release: Release, last: Snapshot) -> None:
    for one in last.assignments:
        one.metrics = last.assignments[0].metrics
    with pytest.raises(AnotherStoryError, match=r"^cannot tell the story: it needs that "):
        story._all_run(Stage(tmp_path), release, last)


def test_what_was_run_is_counted_from_what_was_measured() -> None:
    told = story.Told()
    told.count(GOOD, _ended("succeeded", 0.9, others="pending", status="running"))
    assert (told.probes, told.inferences, told.speech) == (1, 231, {"1.0.0": 0.9})
