"""Control groups, where this machine lets us make them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.devices import eventually
from tests.sandbox.yard import Yard

from kernex.agent import cgroups


@pytest.fixture
def parent() -> Path:
    found = cgroups.own()
    if found is None:
        pytest.skip("no control group (version 2) that this process may write to")
    return found


@pytest.fixture
def member(parent: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A group with a process in it."""
    group = cgroups.make(parent, "test.member", processes=16, memory_bytes=0)
    assert group is not None
    process = subprocess.Popen(["sleep", "300"])
    (group / "cgroup.procs").write_text(str(process.pid))
    yield group, process
    process.kill()
    process.wait()
    cgroups.remove(group)


def test_a_sweep_ends_what_is_in_the_groups_of_an_agent_that_was_killed(
    parent: Path, member: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    group, process = member
    cgroups.sweep(parent, "another")
    assert process.poll() is None
    cgroups.sweep(parent, "test.")
    assert process.wait(5) == -9
    cgroups.sweep(parent, "test.")
    assert eventually(lambda: not group.exists())


def test_a_group_that_cannot_be_made_is_no_reason_not_to_run(parent: Path) -> None:
    assert cgroups.make(parent / "no-such", "mark", processes=1, memory_bytes=1) is None


def test_a_run_is_in_a_group_of_its_own_and_leaves_none(parent: Path, restricted: Yard) -> None:
    hiding = (
        "import os\nos.fork() or (os.setsid(), os.closerange(0, 9), os.execve('/bin/sleep', ['sleep', '60'], {}))\n"
    )
    said = restricted.says(hiding + "print(open('/proc/self/cgroup').read())")
    assert f"/kernex.{restricted.scripts.mark}." in said
    assert list(parent.glob(f"kernex.{restricted.scripts.mark}*")) == []
