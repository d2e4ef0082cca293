"""Scripts that run out of time, each having hidden processes as well as it can."""

import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice
from typing import NamedTuple

from tests.sandbox.escapes import survivors
from tests.sandbox.probes import SURVIVOR
from tests.sandbox.yard import Yard, at

from kernex.agent.interrupt import Stop
from kernex.agent.settings import Level
from kernex.domain.errors import RejectedError

_TIMEOUT_S, _GRACE_S = 0.1, 0.05
_SLEEP = f"sleep {SURVIVOR}"
TRICKS = {
    "children": f"{_SLEEP} & {_SLEEP} & wait",
    "no ear for SIGTERM": f"trap '' TERM; {_SLEEP} & {_SLEEP}",
    "sessions of their own": f"setsid {_SLEEP} & setsid {_SLEEP} & wait",
    "a double fork": f"(setsid sh -c '{_SLEEP} & {_SLEEP} &' &); {_SLEEP}",
    "no environment": f"(setsid env -i /bin/sh -c '{_SLEEP} & exec {_SLEEP}' >&- 2>&- &); {_SLEEP}",
}


class Told(NamedTuple):
    """`started` counts the processes that were seen when the time was over."""

    runs: int
    started: int
    survivors: int


class _Looking(Stop):
    """Looks around whenever it is asked: the most processes that it saw."""

    most = 0

    @property
    def quitting(self) -> bool:
        self.most = max(self.most, len(survivors()))
        return False


def run_out_of_time(runs: int) -> Told:
    """Run the tricks in turn at each level in turn."""
    started = left = 0
    with ExitStack() as stack:
        yards = [stack.enter_context(Yard.opened(replace(at(level), term_grace_s=_GRACE_S))) for level in Level]
        ways = [(yard, trick) for trick in TRICKS.values() for yard in yards]
        for yard, shell in islice(cycle(ways), runs):
            release = yard.release(f"#!/bin/sh\n{shell}\n")
            stop = _Looking()
            try:
                yard.scripts.run("deploy script", "script.sh", release, timeout_s=_TIMEOUT_S, stop=stop)
            except RejectedError as error:
                if "s are over" not in str(error):
                    raise
            started += stop.most
            outlived = survivors()
            left += len(outlived)
            for pid in outlived:
                os.kill(pid, signal.SIGKILL)
    return Told(runs, started, left)
