"""Finding out whether a release works: its probe, or for want of one whether its workload stays up."""

import time
from dataclasses import dataclass, field, replace
from typing import Annotated

import msgspec

from kernex.agent.drivers import Condition, Driver
from kernex.agent.interrupt import Stop
from kernex.agent.scripts import Release, Scripts, status
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Health
from kernex.wire.device import Metrics

_GLANCE_S = 0.1
_REASON = 500  # characters of a probe's own reason


class Verdict(msgspec.Struct):
    """The JSON line that a probe prints last. `reason` is for people."""

    ok: bool
    metrics: Metrics = {}
    reason: Annotated[str, msgspec.Meta(max_length=4096)] = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether the release works, what was measured, and why not."""

    works: bool
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Streak:
    """Verdicts of the same kind in a row. Pure: `works` is None as long as it is open."""

    good: int = 0
    bad: int = 0

    def after(self, good: bool) -> "Streak":
        return Streak(self.good + 1, 0) if good else Streak(0, self.bad + 1)

    def works(self, health: Health) -> bool | None:
        if self.good >= health.successes:
            return True
        return False if self.bad >= health.failures else None


def check(release: Release, scripts: Scripts, driver: Driver, stop: Stop, *, once: bool = False) -> Checked:
    """Ask until there is an answer or the probe's deadline is over. `once` takes the first good verdict."""
    health = release.manifest.health
    if health is None:
        return _stays_up(release, scripts.settings.settle_s, driver, stop)
    if once:
        health = replace(health, successes=1)
    deadline = time.monotonic() + health.deadline_s
    streak, last = Streak(), Checked(works=False, reason="it gave no verdict")
    restarts = driver.state(release.app.name).restarts
    while (left_s := deadline - time.monotonic()) > 0:
        verdict, reason = _ask(health, release, scripts, stop, min(left_s, health.timeout_s))
        workload = driver.state(release.app.name)
        stayed_up = workload.condition is Condition.RUNNING and workload.restarts == restarts
        restarts = workload.restarts
        if verdict is None:
            last = replace(last, reason=reason)
        else:
            last = judge(health, verdict)
            if last.works and not stayed_up:  # since the last verdict: to be up at this moment may be chance
                last = replace(last, works=False, reason="its process does not stay up")
            streak = streak.after(last.works)
            if (works := streak.works(health)) is not None:
                return replace(last, works=works)
        stop.sleep(min(health.interval_s, max(0.0, deadline - time.monotonic())))
    if last.works:
        last = replace(last, reason=f"only {streak.good} of {health.successes} good verdicts")
    return replace(last, works=False, reason=f"{last.reason} within {health.deadline_s:g} s")


def judge(health: Health, verdict: Verdict) -> Checked:
    """What one verdict means: the probe must say ok, and its metrics must keep the thresholds."""
    reasons = health.broken_thresholds(verdict.metrics)
    if not verdict.ok:
        reasons.insert(0, verdict.reason[:_REASON] or "it says that the release does not work")
    return Checked(not reasons, verdict.metrics, ", ".join(reasons))


def read_verdict(printed: str) -> Verdict | str:
    """The last line that is a verdict; else why there is none."""
    why = 'it printed no JSON line like {"ok": true}'
    for line in reversed(printed.splitlines()):
        if line.lstrip().startswith("{"):
            try:
                return msgspec.json.decode(line, type=Verdict)
            except msgspec.MsgspecError as error:
                why = f"it printed a line that is no verdict: {error}"
    return why


def _ask(
    health: Health, release: Release, scripts: Scripts, stop: Stop, timeout_s: float
) -> tuple[Verdict | None, str]:
    """The verdict, or None and why there is none."""
    try:
        finished = scripts.run("probe", health.script, release, timeout_s=timeout_s, stop=stop)
    except RejectedError as error:
        return None, str(error)
    verdict = read_verdict(finished.printed)
    if isinstance(verdict, str):
        words = f"; it said: {finished.words}" if finished.words else ""
        return None, f"{status(finished.status) if finished.status else verdict}{words}"
    if verdict.ok and finished.status:
        return None, f"it says ok, but {status(finished.status)}"
    return verdict, ""


def _stays_up(release: Release, settle_s: float, driver: Driver, stop: Stop) -> Checked:
    if release.manifest.run is None:
        return Checked(works=True)
    deadline = time.monotonic() + settle_s
    while True:
        condition, restarts = driver.state(release.app.name)
        if condition is not Condition.RUNNING or restarts:
            return Checked(works=False, reason=f"its process did not stay up for {settle_s:g} s; see {release.app.log}")
        if time.monotonic() >= deadline:
            return Checked(works=True)
        stop.sleep(_GLANCE_S)
