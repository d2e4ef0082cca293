"""The table of `tests.sandbox.probes`, held at each level: what a level promises it keeps, and what it does
not promise really is open, so that every probe is known to find its way."""

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from tests.sandbox.conftest import need
from tests.sandbox.probes import PROBES, Probe

from kernex.agent.settings import Level

SAMPLE = 15  # timeouts: every trick at every level; a thousand are in `python -m tests.sandbox`


def suite(*arguments: str) -> dict[str, Any]:
    """A part of the long suite, in a process that adopts orphans as an agent does."""
    words = [sys.executable, "-m", "tests.sandbox", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@cache
def found(level: Level) -> dict[str, Any]:
    return suite("probes", level)


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_probe_gets_out_exactly_where_the_table_says(level: Level, probe: Probe) -> None:
    told = found(level)
    need(level, Level(told["level"]), told["why_not"])
    ways = told["ways"][probe.name]
    if level.reaches(probe.holds):
        assert not ways
    elif not probe.depends:
        assert ways, "this level holds more than the table says, or the probe has no teeth"


def test_there_are_enough_probes() -> None:
    assert len(PROBES) >= 25
    assert len({probe.name for probe in PROBES}) == len(PROBES)


def test_nothing_outlives_a_script_that_is_out_of_time() -> None:
    told = suite("timeouts", str(SAMPLE))
    assert told["survivors"] == 0
    assert told["started"] >= SAMPLE, "nothing was there to survive"
