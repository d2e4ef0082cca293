"""The bridge from an install on the device to its assignment in the control plane."""

import pytest

from kernex.domain.assignment import Event, State, after
from kernex.domain.errors import RejectedError
from kernex.domain.install import Phase
from kernex.domain.report import reported, result


def test_every_phase_has_a_meaning_and_every_end_its_own() -> None:
    for phase in Phase:
        state = after(State.INSTALLING, reported(phase))
        assert state.value == (phase.value if phase.final else "installing")


@pytest.mark.parametrize(
    ("status", "outcome", "event"),
    [
        ("success", None, Event.SUCCEED),
        ("success", "succeeded", Event.SUCCEED),
        ("failed", None, Event.FAIL),
        ("failed", "failed", Event.FAIL),
        ("failed", "rolled_back", Event.ROLL_BACK),
        ("failed", "broken", Event.BREAK),
        ("failed", "cancelled", Event.STOP),
    ],
)
def test_a_result_means_what_a_heartbeat_with_that_end_means(status: str, outcome: str | None, event: Event) -> None:
    assert result(status, outcome) is event


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("success", "rolled_back"), ("failed", "succeeded"), ("failed", "downloading"), ("failed", "")],
)
def test_a_result_that_contradicts_itself_is_refused(status: str, outcome: str) -> None:
    with pytest.raises(RejectedError, match="they contradict"):
        result(status, outcome)


@pytest.mark.parametrize("status", ["", "ok", "SUCCESS", "success ", "in_progress", "x" * 10_000])
def test_a_status_other_than_success_or_failed_is_refused(status: str) -> None:
    with pytest.raises(RejectedError, match="say success or failed") as caught:
        result(status, None)
    assert len(str(caught.value)) < 200
