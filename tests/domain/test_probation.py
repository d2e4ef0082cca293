"""How long a release is watched after its success, and what it may do in that time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.install import MAX_TRIES
from kernex.domain.probation import GoesOn, Passed, Probation, Regressed, condemned, judge

NEW = Probation("d1", "vad")
seen = st.builds(
    Probation,
    st.just("d1"),
    st.just("vad"),
    lasted_s=st.floats(0, 1e9),
    deaths=st.integers(0, 9),
    restarts=st.integers(0, 9),
)


def at(*, lasted_s: float = 1.0, deaths: int = 0, restarts: int = 0) -> Probation:
    return Probation("d1", "vad", lasted_s, deaths, restarts)


@pytest.mark.parametrize(
    ("probation", "failing", "verdict"),
    [
        (NEW, False, GoesOn()),
        (NEW, True, GoesOn()),  # it fell once and waits to be started again
        (at(restarts=2, deaths=2), True, GoesOn()),
        (at(restarts=3), False, Regressed("its workload was started again 3 times within its probation")),
        (at(deaths=3), False, Regressed("it ended the agent or the device 3 times within its probation")),
        (at(lasted_s=600, restarts=2, deaths=2), False, Passed()),
        (at(lasted_s=600), True, Regressed("its workload does not run at the end of its probation")),
        (at(lasted_s=600, restarts=3), False, Regressed("its workload was started again 3 times within its probation")),
    ],
)
def test_three_falls_within_the_time_or_lying_there_at_its_end(
    probation: Probation, failing: bool, verdict: object
) -> None:
    assert judge(probation, failing=failing, length_s=600) == verdict


@given(seen, st.booleans())
def test_a_length_of_zero_switches_it_off(probation: Probation, failing: bool) -> None:
    assert judge(probation, failing=failing, length_s=0) == Passed()


@given(seen, st.booleans())
def test_it_ends_for_everybody_and_never_well_for_who_fell_three_times(probation: Probation, failing: bool) -> None:
    verdict = judge(probation, failing=failing, length_s=600)
    assert isinstance(verdict, Regressed) or max(probation.deaths, probation.restarts) < MAX_TRIES
    assert not isinstance(verdict, GoesOn) or probation.lasted_s < 600
    assert not condemned(probation) or isinstance(verdict, Regressed)
