"""What every state machine of Kernex promises, read off its table."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import pytest

from kernex.domain import assignment, deployment, device, install
from kernex.domain.errors import ConflictError, IllegalTransition


class Machine(NamedTuple):
    name: str
    states: type[StrEnum]
    events: type[StrEnum]
    table: Mapping[Any, Mapping[Any, Any]]
    start: StrEnum
    final: frozenset[Any]
    after: Callable[[Any, Any], Any]
    revisable: frozenset[Any] = frozenset()  # final states that may still become another one


MACHINES = [
    Machine(
        "assignment",
        assignment.State,
        assignment.Event,
        assignment.NEXT,
        assignment.State.PENDING,
        assignment.OUTCOMES,
        assignment.after,
        revisable=frozenset({assignment.State.SUCCEEDED}),
    ),
    Machine(
        "install",
        install.Phase,
        install.Event,
        install.NEXT,
        install.Phase.DOWNLOADING,
        frozenset(phase for phase in install.Phase if phase.final),
        install.after,
        revisable=frozenset({install.Phase.SUCCEEDED}),
    ),
    Machine(
        "deployment",
        deployment.State,
        deployment.Event,
        deployment.NEXT,
        deployment.State.RUNNING,
        frozenset(state for state in deployment.State if state.final),
        deployment.after,
    ),
    Machine(
        "device",
        device.State,
        device.Event,
        device.NEXT,
        device.State.PENDING,
        frozenset({device.State.REVOKED}),
        device.after,
    ),
]
every_machine = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


def reachable(machine: Machine, start: StrEnum) -> set[StrEnum]:
    seen, border = {start}, [start]
    while border:
        for state in machine.table[border.pop()].values():
            if state not in seen:
                seen.add(state)
                border.append(state)
    return seen


@every_machine
def test_every_state_has_a_row_and_every_cell_holds_a_state(machine: Machine) -> None:
    assert set(machine.table) == set(machine.states)
    for row in machine.table.values():
        assert set(row) <= set(machine.events)
        assert set(row.values()) <= set(machine.states)


@every_machine
def test_every_state_can_be_reached_and_every_event_moves_something(machine: Machine) -> None:
    assert reachable(machine, machine.start) == set(machine.states)
    assert {event for row in machine.table.values() for event in row} == set(machine.events)


@every_machine
def test_every_state_that_is_not_final_can_still_end(machine: Machine) -> None:
    for state in machine.states:
        assert reachable(machine, state) & machine.final, f"{state} never ends"


@every_machine
def test_a_final_state_is_never_left_but_for_a_success_that_did_not_last(machine: Machine) -> None:
    assert machine.final > machine.revisable
    for state in machine.final - machine.revisable:
        assert reachable(machine, state) == {state}
    for state in machine.revisable:
        assert state not in {after for before in machine.final - {state} for after in machine.table[before].values()}
        assert {end.value for end in reachable(machine, state) & machine.final} == {
            "succeeded",
            "rolled_back",
            "broken",
        }
    for state in set(machine.states) - machine.final:
        assert reachable(machine, state) > {state}


@every_machine
def test_a_missing_cell_is_a_conflict_that_names_event_and_state(machine: Machine) -> None:
    missing = [
        (state, event) for state in machine.states for event in machine.events if event not in machine.table[state]
    ]
    assert missing
    for state, event in missing:
        with pytest.raises(IllegalTransition, match=rf"^cannot {event} an? {machine.name} that is {state}$") as caught:
            machine.after(state, event)
        assert isinstance(caught.value, ConflictError)


@every_machine
def test_values_are_what_is_stored_so_no_two_are_alike(machine: Machine) -> None:
    assert len({state.value for state in machine.states}) == len(machine.states)
    assert all(state.value == state.name.lower() for state in machine.states)


def test_the_final_property_of_an_assignment_agrees_with_its_outcomes() -> None:
    assert {state for state in assignment.State if state.final} == assignment.OUTCOMES
    assert assignment.ACTIVE.isdisjoint(assignment.OUTCOMES)
    assert set(assignment.State) == assignment.ACTIVE | assignment.OUTCOMES


def test_what_counts_against_the_limit_is_what_a_device_wanted_and_could_not() -> None:
    assert set(assignment.State) - assignment.ACTIVE - assignment.FAILURES == {
        assignment.State.SUCCEEDED,
        assignment.State.CANCELLED,
        assignment.State.SUPERSEDED,
    }


def test_a_revoked_device_never_comes_back() -> None:
    assert reachable(MACHINES[3], device.State.REVOKED) == {device.State.REVOKED}
    with pytest.raises(IllegalTransition):
        device.after(device.State.REVOKED, device.Event.APPROVE)
