"""The long suite: every probe at every level, and a thousand scripts that run out of time.

::

    python -m tests.sandbox                 all of it; rows `sandbox` and `survivors` of build/crash.json
    python -m tests.sandbox probes LEVEL    how each probe got out, as JSON
    python -m tests.sandbox timeouts RUNS   how many processes outlived their script, as JSON

It is a process of its own because an agent is one: it adopts what loses its parent.
"""

import argparse
import json
import sys
import time
from typing import Any

from benchmarks._figures import Figure
from tests import figures
from tests.sandbox.escapes import outside
from tests.sandbox.probes import PROBES
from tests.sandbox.timeouts import run_out_of_time
from tests.sandbox.yard import Yard, at

from kernex.agent import processes
from kernex.agent.settings import Level

RUNS = 1000
STARTS = 30  # to measure one
TRUE = "#!/bin/sh\ntrue\n"


def probe_all(level: Level) -> dict[str, Any]:
    """The level that was reached, and for each probe how it got out."""
    with Yard.opened(at(level)) as yard, outside(yard) as reachable:
        ways = {probe.name: reachable.failures(probe) for probe in PROBES}
        return {"level": yard.level, "why_not": yard.scripts.sandbox.why_not, "ways": ways}


def start_ms(level: Level) -> float:
    """Milliseconds from start to end of a script that does nothing: the least, as others use the machine too."""
    took = []
    with Yard.opened(at(level)) as yard:
        release = yard.release(TRUE)
        for _ in range(STARTS):
            began = time.perf_counter()
            yard.run(release)
            took.append(1000 * (time.perf_counter() - began))
    return min(took)


def measure() -> bool:
    """Run everything and record it. Whether the targets are met."""
    found = {level: probe_all(level) for level in Level}
    held = {level: sum(not way for way in one["ways"].values()) for level, one in found.items()}
    for level, one in found.items():
        sys.stdout.write(f"{level}: {held[level]} of {len(PROBES)} contained {one['why_not']}\n")
    plain_ms, contained_ms = start_ms(Level.NONE), start_ms(Level.BUBBLEWRAP)
    sys.stdout.write(f"a start: {plain_ms:.1f} ms, contained {contained_ms:.1f} ms\n")
    told = run_out_of_time(RUNS)
    sys.stdout.write(f"timeouts: {told}\n")
    rows = [
        Figure(
            name="sandbox",
            value=held[Level.BUBBLEWRAP],
            unit=f"of {len(PROBES)} ways out closed",
            compared_with=f"{held[Level.RESTRICTED]} at level restricted, {held[Level.NONE]} without",
            ratio=round(held[Level.BUBBLEWRAP] / held[Level.NONE], 2),
            target="all, of at least 25",
            met=len(PROBES) >= 25 and held[Level.BUBBLEWRAP] == len(PROBES),
        ),
        Figure(
            name="sandbox start",
            value=round(contained_ms, 1),
            unit="ms",
            compared_with=f"a start without, {plain_ms:.1f} ms",
            ratio=round(contained_ms / plain_ms, 2),
            target="<=15 ms more",
            met=contained_ms - plain_ms <= 15,
        ),
        Figure(
            name="survivors",
            value=told.survivors,
            unit="processes",
            compared_with=f"{told.started} that {told.runs} scripts had started when their time was over",
            ratio=round(told.survivors / told.started, 4),
            target="0 of 1,000 timeouts",
            met=told.runs >= RUNS and told.survivors == 0,
        ),
    ]
    figures.record("crash", rows)
    return all(row.met for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox")
    parser.add_argument("part", nargs="?", choices=["probes", "timeouts"])
    parser.add_argument("argument", nargs="?")
    options = parser.parse_args()
    processes.adopt_orphans()
    match options.part:
        case "probes":
            sys.stdout.write(json.dumps(probe_all(Level(options.argument))) + "\n")
        case "timeouts":
            sys.stdout.write(json.dumps(run_out_of_time(int(options.argument))._asdict()) + "\n")
        case _:
            return 0 if measure() else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
