"""Ending everything that a bundle started, whatever it did to get away."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.agent.devices import alive, eventually

from kernex.agent import proc, processes
from kernex.agent.processes import Run

GRACE_S = 0.3
GROUP = """import os; os.setpgid(0, 0); print(os.getpid(), flush=True); os.execve("/bin/sleep", ["sleep", "300"], {})"""
#: Ways to outlive the process that was started; each prints the pid of what is to survive.
ESCAPES = {
    "a child in the background": "sleep 300 & echo $!",
    "a child that ignores SIGTERM": "(trap '' TERM; sleep 300) & echo $!",
    "another session": "setsid sleep 300 & echo $!",
    "a double fork": "(setsid sh -c 'echo $$; exec sleep 300' &)",
    "a double fork into a process group of its own": "(sh -c 'set -m; sleep 300 & echo $!' &)",
    "a cleared environment": "env -i /bin/sleep 300 & echo $!",
    "a process group of its own and a cleared environment": f"({sys.executable} -c '{GROUP}' &)",
    "another session and a cleared environment": "setsid env -i /bin/sleep 300 & echo $!",
}


def start(script: str, tmp_path: Path) -> Run:
    environment = {"PATH": os.environ["PATH"]}
    return processes.start(
        ["/bin/sh", "-c", script], cwd=tmp_path, environment=environment, mark=processes.new_mark("test")
    )


def printed(run: Run, *, lines: int, timeout_s: float = 5.0) -> list[str]:
    """The first lines that it prints on its standard output."""
    text = bytearray()
    out, err = (pipe.fileno() for pipe in run.outputs)
    sinks: dict[int, Callable[[bytes], object]] = {out: text.extend, err: len}
    deadline = time.monotonic() + timeout_s
    processes.attend(run, sinks, until=lambda: text.count(b"\n") >= lines or time.monotonic() > deadline)
    return text.decode().splitlines()


@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_outlives_a_run_that_is_ended(tmp_path: Path, escape: str) -> None:
    run = start(f"trap '' TERM; {ESCAPES[escape]}; sleep 300", tmp_path)
    [survivor] = printed(run, lines=1)
    assert alive(int(survivor))
    processes.end(run, grace_s=GRACE_S)
    assert not alive(int(survivor))
    assert not alive(run.pid)


@pytest.mark.parametrize("escape", [name for name in ESCAPES if "cleared" not in name])
def test_nothing_outlives_a_run_that_ended_by_itself(tmp_path: Path, escape: str) -> None:
    run = start(f"{ESCAPES[escape]}; sleep 0.1", tmp_path)
    [survivor] = printed(run, lines=99)
    assert run.process.returncode == 0
    assert alive(int(survivor))
    assert processes.end(run, grace_s=GRACE_S) >= 1
    assert not alive(int(survivor))


def test_a_run_gets_a_moment_to_end_by_itself(tmp_path: Path) -> None:
    run = start("trap 'echo bye > said; exit 0' TERM; echo ready; while :; do sleep 0.01; done", tmp_path)
    printed(run, lines=1)
    processes.end(run, grace_s=5)
    assert (tmp_path / "said").read_text() == "bye\n"
    assert run.process.returncode == 0


def test_another_run_is_left_alone(tmp_path: Path) -> None:
    one, other = start("sleep 300", tmp_path), start("sleep 300", tmp_path)
    processes.end(one, grace_s=0)
    assert other.process.poll() is None
    processes.end(other, grace_s=0)


def test_a_sweep_ends_every_run_of_one_agent_and_no_other(tmp_path: Path) -> None:
    mine = [start("exec sleep 300", tmp_path) for _ in range(2)]
    other = processes.start(["/bin/sleep", "300"], cwd=tmp_path, environment={}, mark=processes.new_mark("other"))
    assert processes.sweep("test") == 2
    assert other.process.poll() is None
    for run in [*mine, other]:
        processes.end(run, grace_s=0)


def test_output_after_the_last_words_of_the_first_process_does_not_hold_it_up(tmp_path: Path) -> None:
    """Somebody who keeps the pipe and floods it must not keep us reading."""
    run = start("(setsid sh -c 'yes' &); echo first", tmp_path)
    text = bytearray()
    began = time.monotonic()
    assert processes.attend(run, {pipe.fileno(): text.extend for pipe in run.outputs}, until=lambda: False)
    processes.end(run, grace_s=0)
    assert time.monotonic() - began < 3


ORPHANS = """
import sys, time
from pathlib import Path
from kernex.agent import proc, processes
processes.adopt_orphans()
bystander = processes.start(["/bin/sleep", "300"], cwd=Path("/"), environment={}, mark="bystander")
run = processes.start(
    ["/bin/sh", "-c", "(setsid env -i /bin/sh -c 'echo $$; exec sleep 300' &) ; sleep 0.2"],
    cwd=Path("/"), environment={"PATH": "/usr/bin:/bin"}, mark="run",
)
text = bytearray()
processes.attend(run, {pipe.fileno(): text.extend for pipe in run.outputs}, until=lambda: False)
pid = int(text)
seen = proc.look(pid)
assert seen is not None and seen.alive, "it did not even survive its parent"
assert processes.end(run, grace_s=0) == 1
seen = proc.look(pid)
assert seen is None, f"{seen} is left"
assert bystander.process.poll() is None
processes.end(bystander, grace_s=0)
dead = processes.start(
    ["/bin/sh", "-c", "(setsid true &); exec sleep 300"], cwd=Path("/"), environment={"PATH": "/bin"}, mark="dead"
)
time.sleep(0.3)
processes.collect_orphans()
import os
assert [one for one in proc.everybody() if one.parent == os.getpid() and not one.alive] == []
processes.end(dead, grace_s=0)
print("contained")
"""


def test_an_agent_finds_even_those_who_left_every_trace_behind() -> None:
    """Double fork, a session of its own, no environment: only their new parent tells whose they are."""
    done = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "contained\n", done.stderr


def test_a_process_is_read_even_with_a_name_made_to_confuse(tmp_path: Path) -> None:
    tricky = tmp_path / "a) S 1 (b"
    tricky.symlink_to("/bin/sleep")
    with subprocess.Popen([tricky, "300"]) as process:
        assert eventually(lambda: (seen := proc.look(process.pid)) is not None and seen.parent == os.getpid())
        process.kill()
