"""An agent that is killed, loses its power or its disk anywhere in an install comes out of it with one whole release.

A sample of the strikes, evenly over all scenarios and kinds; `make crash` does all of them. The points are calls of
a real agent's process, found by running it once: nothing here knows how the agent is made.
"""

import os
from pathlib import Path

import pytest
from tests.crash import campaign, mounts
from tests.crash.bench import Bench
from tests.crash.campaign import CONTROLS_OF, DOUBLES, FULL, KILLS, Chunk, Control, Report
from tests.crash.scenarios import SCENARIOS

EVERY = pytest.mark.parametrize("scenario", range(len(SCENARIOS)), ids=[make.__name__[1:] for make in SCENARIOS])
FEW, FEWER, FEWEST = 20, 40, 80  # one point in so many


def check(report: Report) -> None:
    assert report.hits, "nothing was struck"
    assert not report.violations, "\n".join(report.violations)


@EVERY
def test_a_killed_agent_comes_back_to_one_whole_release(bench: Bench, scenario: int) -> None:
    check(campaign.run_on(bench, Chunk(KILLS, scenario, seed=100, one_in=FEW)))


@EVERY
def test_an_agent_that_is_killed_again_while_it_recovers_comes_back_too(bench: Bench, scenario: int) -> None:
    check(campaign.run_on(bench, Chunk(DOUBLES, scenario, seed=101, twice=6)))


@EVERY
def test_a_disk_that_fails_for_a_while_leaves_one_whole_release(bench: Bench, scenario: int) -> None:
    check(campaign.run_on(bench, Chunk(FULL, scenario, seed=102, one_in=FEWER, failing=True)))


@EVERY
def test_a_power_cut_leaves_one_whole_release(mounted: Bench, scenario: int) -> None:
    assert mounted.mount
    check(campaign.run_on(mounted, Chunk("cut", scenario, 103, mounted.mount.kind, one_in=FEWER)))


@EVERY
def test_a_second_power_cut_while_it_recovers_leaves_one_whole_release(mounted: Bench, scenario: int) -> None:
    assert mounted.mount
    check(campaign.run_on(mounted, Chunk("cut", scenario, 104, mounted.mount.kind, twice=3)))


@pytest.mark.parametrize("control", CONTROLS_OF[""], ids=lambda control: control.name)
def test_a_weakness_is_found_by_killing(bench: Bench, control: Control) -> None:
    assert campaign.run_on(bench, control).violations


@pytest.mark.parametrize("number", range(2))
def test_a_weakness_is_found_by_cutting_the_power(mounted: Bench, number: int) -> None:
    assert mounted.mount
    assert campaign.run_on(mounted, CONTROLS_OF[mounted.mount.kind][number]).violations


def test_only_the_power_of_a_loop_mount_of_this_suite_can_be_cut(mounted: Bench, tmp_path: Path) -> None:
    assert mounted.mount
    os.close(mounts.guarded(mounted.mount.directory, mounted.mount.device))
    for precious in (Path("/"), Path.cwd(), tmp_path, Path("/tmp")):
        with pytest.raises(PermissionError):
            mounts.guarded(precious, precious.stat().st_dev)
    with pytest.raises(PermissionError):
        mounts.guarded(mounted.mount.directory, mounted.mount.device + 1)
    below = mounted.mount.directory / "below"
    below.mkdir()
    with pytest.raises(PermissionError):
        mounts.guarded(below, mounted.mount.device)


def test_the_shim_sees_every_kind_of_change(bench: Bench) -> None:
    trace = bench.set(SCENARIOS[1](105)).trace
    calls = {line.split()[1].removesuffix("64") for line in trace}
    assert {"open", "openat", "write", "pwrite", "mkdir", "rename", "symlink", "fsync", "fdatasync", "fchmod"} <= calls
    assert calls & {"unlink", "unlinkat"}
    assert [int(line.split()[0]) for line in trace] == list(range(1, len(trace) + 1))
