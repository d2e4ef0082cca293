"""What a heartbeat means: pure, so every story is a few rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.assignment import ACTIVE, FAILURES, NEXT, OUTCOMES, Event, State
from kernex.domain.errors import ConflictError, DeniedError
from kernex.domain.install import Phase
from kernex.server import answers
from kernex.server.answers import Reported
from kernex.server.store.heartbeats import Assigned
from kernex.wire.device import Cancel, Deploy, InstallReport

DEVICE = 7


def owed(state: State, *, number: int = 1, app: str = "vad", phase: str | None = None) -> Assigned:
    return Assigned(
        id=number * 10,
        device=DEVICE,
        deployment=number,
        state=state,
        phase=phase,
        deployment_id=f"deployment-{number}",
        app=app,
        bundle_id=f"bundle-{number}",
        version=f"{number}.0.0",
        digest="d" * 64,
        checksum_sha256="c" * 64,
        size_bytes=3,
    )


def reports(phase: Phase, *, number: int = 1, error: str | None = None) -> list[Reported]:
    return [Reported.of(InstallReport(f"deployment-{number}", phase, error))]


def heartbeat(assigned: list[Assigned], said: list[Reported], known: list[Assigned] | None = None) -> answers.Answer:
    by_id = {one.deployment_id: one for one in [*assigned, *(known or [])]}
    return answers.answer(said, by_id, assigned, frozenset(one.deployment_id for one in said), DEVICE)


def test_a_pending_assignment_is_offered_and_marked_so() -> None:
    answer = heartbeat([owed(State.PENDING)], [])
    assert [type(command) for command in answer.commands] == [Deploy]
    assert [(change.before, change.state) for change in answer.changes] == [(State.PENDING, State.OFFERED)]


def test_an_offer_is_repeated_until_the_device_says_that_it_has_it() -> None:
    again = heartbeat([owed(State.OFFERED)], [])
    assert [type(command) for command in again.commands] == [Deploy]
    assert again.changes == []
    heard = heartbeat([owed(State.OFFERED)], reports(Phase.DOWNLOADING))
    assert heard.commands == []
    assert [change.state for change in heard.changes] == [State.INSTALLING]


def test_a_device_that_forgot_its_install_is_told_again() -> None:
    assert [type(command) for command in heartbeat([owed(State.INSTALLING)], []).commands] == [Deploy]


def test_an_idle_heartbeat_changes_nothing() -> None:
    answer = heartbeat([], [])
    assert (answer.commands, answer.changes, answer.told) == ([], [], [])


def test_a_repeated_report_changes_nothing() -> None:
    answer = heartbeat([owed(State.INSTALLING, phase="probing")], reports(Phase.PROBING))
    assert (answer.changes, answer.told) == ([], [])


def test_a_new_phase_is_stored_without_an_event() -> None:
    answer = heartbeat([owed(State.INSTALLING, phase="downloading")], reports(Phase.PROBING))
    assert [change.phase for change in answer.changes] == ["probing"]
    assert answer.told == []


def test_an_outcome_ends_the_assignment_and_is_not_offered_again() -> None:
    answer = heartbeat([owed(State.INSTALLING)], reports(Phase.ROLLED_BACK, error="probe failed: speech 0"))
    assert answer.commands == []
    assert [(change.state, change.error_message) for change in answer.changes] == [
        (State.ROLLED_BACK, "probe failed: speech 0")
    ]
    assert answer.ends_something
    assert answer.told[0].detail == {"error": "probe failed: speech 0"}


def test_a_late_outcome_is_kept_as_an_event_once_and_moves_nothing() -> None:
    answer = heartbeat([], reports(Phase.SUCCEEDED), known=[owed(State.TIMED_OUT)])
    assert [change.state for change in answer.changes] == [State.TIMED_OUT]
    assert [event.kind for event in answer.told] == ["report.late"]
    again = heartbeat([], reports(Phase.SUCCEEDED), known=[owed(State.TIMED_OUT, phase="succeeded")])
    assert (again.changes, again.told) == ([], [])


def test_an_older_release_is_never_offered_after_a_newer_one_succeeded() -> None:
    old, new = owed(State.INSTALLING, number=1), owed(State.INSTALLING, number=2)
    other = owed(State.PENDING, number=3, app="ocr")
    answer = heartbeat([old, new, other], reports(Phase.SUCCEEDED, number=2))
    assert [command.deployment_id for command in answer.commands] == ["deployment-3"]
    assert {change.id: change.state for change in answer.changes} == {
        new.id: State.SUCCEEDED,
        old.id: State.SUPERSEDED,
        other.id: State.OFFERED,
    }


def test_a_report_on_somebody_elses_deployment_changes_nothing() -> None:
    answer = heartbeat([owed(State.PENDING, number=1)], reports(Phase.SUCCEEDED, number=2))
    assert [event.kind for event in answer.told] == ["assignment.offered"]
    assert [change.id for change in answer.changes] == [10]


def test_the_newest_deployment_of_an_app_is_offered_alone() -> None:
    answer = heartbeat([owed(State.PENDING, number=1), owed(State.PENDING, number=2)], [])
    assert [command.deployment_id for command in answer.commands] == ["deployment-2"]


def test_apps_do_not_wait_for_each_other() -> None:
    answer = heartbeat([owed(State.PENDING, number=1), owed(State.PENDING, number=2, app="ocr")], [])
    assert {command.deployment_id for command in answer.commands} == {"deployment-1", "deployment-2"}


def test_what_is_being_withdrawn_is_cancelled_until_the_device_answers() -> None:
    answer = heartbeat([owed(State.CANCELLING)], reports(Phase.DOWNLOADING))
    assert [type(command) for command in answer.commands] == [Cancel]
    stopped = heartbeat([owed(State.CANCELLING)], reports(Phase.CANCELLED))
    assert stopped.commands == []
    assert [change.state for change in stopped.changes] == [State.CANCELLED]


def test_a_cancel_that_came_too_late_gives_way_to_the_real_outcome() -> None:
    answer = heartbeat([owed(State.CANCELLING)], reports(Phase.SUCCEEDED))
    assert [change.state for change in answer.changes] == [State.SUCCEEDED]


def test_an_explicit_result_hears_of_a_contradiction() -> None:
    success = Reported("deployment-1", Event.SUCCEED, None)
    assert answers.refusal(success, {"deployment-1": owed(State.INSTALLING)}) is None
    assert answers.refusal(success, {"deployment-1": owed(State.SUCCEEDED)}) is None
    assert isinstance(answers.refusal(success, {"deployment-1": owed(State.FAILED)}), ConflictError)
    assert isinstance(answers.refusal(success, {}), DeniedError)


def test_control_characters_of_a_device_reach_no_terminal() -> None:
    answer = heartbeat([owed(State.INSTALLING)], reports(Phase.FAILED, error="\x1b[2J\x00boo\nnext"))
    assert answer.changes[0].error_message == "[2Jboo\nnext"


@given(state=st.sampled_from(sorted(State)), phase=st.sampled_from(sorted(Phase)))
def test_whatever_is_reported_in_whatever_state_follows_the_table(state: State, phase: Phase) -> None:
    assigned = owed(state)
    standing = [assigned] if state in ACTIVE else []
    answer = heartbeat(standing, reports(phase), known=[assigned])
    for change in answer.changes:
        assert change.state in {*NEXT[change.before].values(), change.before}
    if state in OUTCOMES - {State.SUCCEEDED}:  # that one a device may revise
        assert all(change.state is state for change in answer.changes)


@pytest.mark.parametrize("lost", range(4))
def test_lost_and_repeated_messages_end_the_same(lost: int) -> None:
    """The device's story told four times, each time without one of its heartbeats."""
    story = [Phase.DOWNLOADING, Phase.STAGING, Phase.PROBING, Phase.SUCCEEDED]
    state = State.PENDING
    for heard in [phase for index, phase in enumerate(story) if index != lost] + [Phase.SUCCEEDED] * 2:
        standing = [owed(state)] if state in ACTIVE else []
        for change in heartbeat(standing, reports(heard), known=[owed(state)]).changes:
            state = change.state
        if state is State.PENDING:
            state = State.OFFERED
    assert state is State.SUCCEEDED


@pytest.mark.parametrize(("phase", "state"), [(Phase.ROLLED_BACK, State.ROLLED_BACK), (Phase.BROKEN, State.BROKEN)])
def test_a_success_that_did_not_survive_its_probation_is_revised_and_counts(phase: Phase, state: State) -> None:
    ended = owed(State.SUCCEEDED, phase="succeeded")
    undoing = heartbeat([], reports(Phase.RESTORING), [ended])
    assert (undoing.changes, undoing.told) == ([], [])
    revised = heartbeat([], reports(phase, error="started again 3 times within its probation"), [ended])
    assert [(change.before, change.state) for change in revised.changes] == [(State.SUCCEEDED, state)]
    assert [event.kind for event in revised.told] == [f"assignment.{state}"]
    assert revised.ends_something, "a deployment that still runs counts anew"
    assert state in FAILURES
