"""`run.command` in the sandbox: stopped as asked, started again, and gone with the agent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.agent.devices import alive, eventually
from tests.sandbox.yard import Yard

from kernex.agent import proc
from kernex.agent.drivers import Condition
from kernex.agent.scripts import Release
from kernex.domain.manifest import Run

TRUE = "#!/bin/sh\ntrue\n"


def workload(yard: Yard, shell: str, *, stop_timeout_s: float = 5.0) -> Release:
    return yard.release(TRUE, run=Run(["sh", "-c", shell], stop_timeout_s=stop_timeout_s))


def keeper(release: Release) -> int:
    """The process that the agent knows."""
    return int(json.loads(release.app.footprint.read_bytes())["pid"])


def below(pid: int) -> list[int]:
    """Every process that it keeps."""
    found, everybody = [pid], proc.everybody()
    for parent in found:
        found += [one.pid for one in everybody if one.parent == parent and one.alive]
    return found[1:]


def test_a_workload_is_asked_to_stop_before_it_is_made_to(yard: Yard) -> None:
    release = workload(yard, "trap 'echo bye > $HOME/said; exit 0' TERM; touch $HOME/up; while :; do sleep 0.01; done")
    yard.driver.start(release)
    assert eventually((release.app.data / "up").exists)
    yard.driver.stop("vad")
    assert (release.app.data / "said").read_text() == "bye\n"


def test_a_workload_that_does_not_stop_is_ended_with_all_it_started(yard: Yard) -> None:
    release = workload(
        yard, "trap '' TERM; (setsid sleep 300 &); touch $HOME/up; while :; do sleep 1; done", stop_timeout_s=0.3
    )
    yard.driver.start(release)
    assert eventually((release.app.data / "up").exists)
    kept = below(keeper(release))
    assert len(kept) >= 3
    began = time.monotonic()
    yard.driver.stop("vad")
    assert time.monotonic() - began < 3
    assert not any(map(alive, kept))


def test_a_workload_that_dies_is_started_again(yard: Yard) -> None:
    release = workload(yard, "echo run >> $HOME/runs; test $(wc -l < $HOME/runs) -ge 3 || exit 1; exec sleep 300")
    yard.driver.start(release)
    assert eventually(lambda: yard.driver.state("vad").restarts == 2)
    assert yard.driver.state("vad").condition is Condition.RUNNING


def test_a_workload_outlives_the_thread_that_asked_for_it(yard: Yard) -> None:
    """An install ends; bwrap would end with the thread that started it."""
    release = workload(yard, "touch $HOME/up; exec sleep 300")
    install = threading.Thread(target=yard.driver.start, args=(release,))
    install.start()
    install.join()
    assert eventually((release.app.data / "up").exists)
    time.sleep(0.3)
    assert alive(keeper(release))
    assert yard.driver.state("vad") == (Condition.RUNNING, 0)


AGENT = """
import sys, time
from pathlib import Path
from tests.sandbox.yard import SETTINGS, Yard
from kernex.agent import sandbox
from kernex.agent.apps import Apps
from kernex.agent.drivers.process import ProcessDriver
from kernex.agent.scripts import Release, Scripts
from kernex.domain.bundle import Digest
from kernex.domain.manifest import Manifest, Run
state = Path(sys.argv[1])
scripts = Scripts(SETTINGS, "killed", sandbox.find(SETTINGS, state))
app = Apps(state / "apps")["vad"]
manifest = Manifest("1.0.0", "vad", run=Run(["sh", "-c", "(setsid sleep 300 &); touch $HOME/up; exec sleep 300"]))
ProcessDriver(scripts, Apps(state / "apps")).start(Release(app, Digest(sys.argv[2]), manifest))
time.sleep(300)
"""


def test_nothing_outlives_an_agent_that_is_killed(yard: Yard) -> None:
    release = yard.release(TRUE)
    words = [sys.executable, "-c", AGENT, str(yard.state.root), str(release.digest)]
    root = Path(__file__).resolve().parents[2]
    agent = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"})
    try:
        assert eventually((release.app.data / "up").exists)
        kept = [keeper(release), *below(keeper(release))]
        assert len(kept) >= 4
    finally:
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    assert eventually(lambda: not any(map(alive, kept)))


@pytest.mark.parametrize("level", ["yard", "restricted"])
def test_a_contained_start_costs_little(level: str, request: pytest.FixtureRequest) -> None:
    """Generous: a shared machine. What it costs is measured by the suite's runner."""
    yard: Yard = request.getfixturevalue(level)
    release = yard.release(TRUE)
    took = []
    for _ in range(5):
        began = time.monotonic()
        yard.run(release)
        took.append(time.monotonic() - began)
    assert min(took) < 0.15
