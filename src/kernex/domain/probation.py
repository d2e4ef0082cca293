"""The time after a success in which a release has to show that it lasts.

Counted in what the device itself can know: seconds in which its agent ran (no clock of a device is
trusted), restarts of the workload, and ends of the agent that nobody asked for.
"""

from dataclasses import dataclass

from kernex.domain.install import MAX_TRIES


@dataclass(frozen=True, slots=True)
class Probation:
    """What is known of one. An app has one at most: a newer success takes its place.

    `deaths` counts how often the agent was killed, or the device under it; `restarts` how often the workload
    was started again after it had ended by itself.
    """

    deployment_id: str
    app: str
    lasted_s: float = 0.0
    deaths: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class GoesOn:
    """Nothing to do yet."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The release lasted; nobody watches it any more."""


@dataclass(frozen=True, slots=True)
class Regressed:
    """Put the previous release back, and say why."""

    reason: str


Verdict = GoesOn | Passed | Regressed


def judge(probation: Probation, *, failing: bool, length_s: float) -> Verdict:
    """What follows from what was seen so far. `failing`: the workload should run now and does not.

    Once is an accident: a release is put back for the third time that it fell, or for not being up in
    the end.
    """
    if length_s <= 0:
        return Passed()
    if condemned(probation):
        return Regressed(f"it ended the agent or the device {probation.deaths} times within its probation")
    if probation.restarts >= MAX_TRIES:
        return Regressed(f"its workload was started again {probation.restarts} times within its probation")
    if probation.lasted_s < length_s:
        return GoesOn()
    if failing:
        return Regressed("its workload does not run at the end of its probation")
    return Passed()


def condemned(probation: Probation) -> bool:
    """Whether the workload may not even be started again: it may be what ends the agent."""
    return probation.deaths >= MAX_TRIES
