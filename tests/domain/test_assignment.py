"""Assignments under a network that loses, repeats and reorders what devices say."""

from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.assignment import OUTCOMES, Event, State, after
from kernex.domain.errors import IllegalTransition
from kernex.domain.install import NEXT as INSTALL_NEXT
from kernex.domain.install import Phase
from kernex.domain.report import reported

events = st.sampled_from(Event)


def told(state: State, event: Event) -> State:
    """What a control plane does with an event that may come too late: it stays where it is."""
    try:
        return after(state, event)
    except IllegalTransition:
        return state


@st.composite
def installs(draw: st.DrawFn) -> list[Phase]:
    """The phases of one install on a device, from its start to its end, which its probation may have revised."""
    phases = [Phase.DOWNLOADING]
    while INSTALL_NEXT[phases[-1]] and not (phases[-1].final and draw(st.booleans(), label="lasts")):
        phases.append(draw(st.sampled_from(sorted(INSTALL_NEXT[phases[-1]].values()))))
    return phases


@st.composite
def heard(draw: st.DrawFn, phases: list[Phase]) -> list[Phase]:
    """What arrives of it: any report may be lost or repeated; the end is repeated until it arrives."""
    arrived = []
    for phase in phases:
        arrived.extend([phase] * draw(st.integers(0, 3)))
    return [*arrived, phases[-1]]


@given(history=st.lists(events))
def test_no_history_leaves_an_outcome_for_another_but_a_device_may_revise_its_success(history: list[Event]) -> None:
    state, outcome = State.PENDING, None
    for event in history:
        state = told(state, event)
        if outcome is State.SUCCEEDED and event in (Event.ROLL_BACK, Event.BREAK):
            outcome = state
            assert outcome in (State.ROLLED_BACK, State.BROKEN)
        elif outcome is not None:
            assert state is outcome
        elif state.final:
            outcome = state


@given(st.data())
def test_lost_and_repeated_reports_change_nothing_about_the_end(data: st.DataObject) -> None:
    phases = data.draw(installs())
    state = State.OFFERED
    for phase in data.draw(heard(phases)):
        state = told(state, reported(phase))
        if not state.final and data.draw(st.booleans()):
            state = after(state, Event.OFFER)  # the answer to each heartbeat offers it again
    assert state.value == phases[-1].value


@given(st.data())
def test_reports_that_overtake_each_other_end_where_the_device_ended(data: st.DataObject) -> None:
    phases = data.draw(installs())
    state = State.OFFERED
    for phase in data.draw(st.permutations(phases)):
        state = told(state, reported(phase))
    assert state.value == phases[-1].value


@given(st.data())
def test_a_withdrawal_at_any_moment_still_ends_with_what_the_device_says(data: st.DataObject) -> None:
    phases = data.draw(installs())
    moment = data.draw(st.integers(0, next(at for at, phase in enumerate(phases) if phase.final)))
    state = State.OFFERED
    for phase in phases[:moment]:
        state = after(state, reported(phase))
    state = after(state, Event.WITHDRAW)
    assert state is State.CANCELLING
    for phase in phases[moment:]:
        state = told(state, reported(phase))  # that a success is being undone moves nothing until it is
    assert state.value == phases[-1].value


@given(repeats=st.integers(1, 5), state=st.sampled_from(State), event=events)
def test_an_event_that_was_taken_once_may_come_again(repeats: int, state: State, event: Event) -> None:
    first = told(state, event)
    again = first
    for _ in range(repeats):
        again = told(again, event)
    assert again is first or (state, event) == (State.OFFERED, Event.OFFER)


def test_an_install_can_end_between_two_heartbeats() -> None:
    ends = {after(State.OFFERED, event) for event in (Event.SUCCEED, Event.FAIL, Event.ROLL_BACK, Event.BREAK)}
    assert ends == {State.SUCCEEDED, State.FAILED, State.ROLLED_BACK, State.BROKEN}


def test_what_no_device_was_told_is_withdrawn_at_once() -> None:
    assert after(State.PENDING, Event.WITHDRAW) is State.CANCELLED


def test_what_a_device_may_have_been_told_is_withdrawn_only_with_its_answer() -> None:
    for state in (State.OFFERED, State.INSTALLING):
        assert after(state, Event.WITHDRAW) is State.CANCELLING
    assert after(State.CANCELLING, Event.STOP) is State.CANCELLED
    assert after(State.CANCELLING, Event.SUCCEED) is State.SUCCEEDED, "the cancel came after the switch"


def test_every_active_assignment_can_time_out() -> None:
    assert {after(state, Event.TIME_OUT) for state in set(State) - OUTCOMES} == {State.TIMED_OUT}
