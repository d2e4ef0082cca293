"""Installs on a device that may lose power at any moment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.bundle import Digest
from kernex.domain.errors import IllegalTransition
from kernex.domain.install import MAX_TRIES, NEXT, STOPPABLE, Event, Install, Phase, after

BEFORE_THE_SWITCH = frozenset({Phase.DOWNLOADING, Phase.VERIFYING, Phase.STAGING})


def new_install(**changes: object) -> Install:
    fields: dict[str, object] = {
        "deployment_id": "d1",
        "app": "vad",
        "bundle_id": "b1",
        "version": "1.0.0",
        "digest": Digest("a" * 64),
        "archive_sha256": Digest("b" * 64),
        "archive_bytes": 1,
        "previous": None,
    }
    return Install(**{**fields, **changes})  # type: ignore[arg-type]  # fields of many types, by name


@given(st.data())
def test_every_history_of_crashes_and_errors_ends(data: st.DataObject) -> None:
    install, entries = new_install(), 0
    while not install.phase.final:
        if install.exhausted:
            install = install.after(Event.ERROR, error="given up")
            continue
        install, entries = install.entered(), entries + 1
        if data.draw(st.booleans(), label="power loss"):
            continue
        install = install.after(data.draw(st.sampled_from(sorted(NEXT[install.phase]))))
    assert entries <= MAX_TRIES * len(Phase)
    assert install.tries == 0


@given(st.lists(st.sampled_from(Event)))
def test_the_old_release_is_untouched_unless_the_switch_was_reached(history: list[Event]) -> None:
    phase, switched = Phase.DOWNLOADING, False
    for event in history:
        if event not in NEXT[phase]:
            continue
        phase = after(phase, event)
        switched = switched or phase is Phase.ACTIVATING
        assert not switched or phase not in {Phase.FAILED, Phase.CANCELLED}
        assert switched or phase in BEFORE_THE_SWITCH | {Phase.FAILED, Phase.CANCELLED}


def test_an_install_stops_only_before_the_switch() -> None:
    assert STOPPABLE == BEFORE_THE_SWITCH
    for phase in set(Phase) - STOPPABLE:
        with pytest.raises(IllegalTransition, match="cannot stop an install"):
            after(phase, Event.STOP)


def test_an_error_after_the_switch_restores_and_a_failed_restore_is_broken() -> None:
    for phase in (Phase.ACTIVATING, Phase.PROBING, Phase.COMMITTING):
        assert after(phase, Event.ERROR) is Phase.RESTORING
    assert after(Phase.RESTORING, Event.DONE) is Phase.ROLLED_BACK
    assert after(Phase.RESTORING, Event.ERROR) is Phase.BROKEN


def test_the_first_error_is_kept_so_that_a_restore_does_not_hide_its_reason() -> None:
    install = new_install(phase=Phase.PROBING).after(Event.ERROR, error="speech 0 (needs >=0.8)")
    assert install.after(Event.ERROR, error="no such file").error == "speech 0 (needs >=0.8)"


def test_tries_count_entries_of_one_phase_and_start_anew_with_the_next() -> None:
    install = new_install()
    for count in range(1, MAX_TRIES + 1):
        assert not install.exhausted
        install = install.entered()
        assert install.tries == count
    assert install.exhausted
    assert not install.after(Event.DONE).exhausted


def test_a_success_may_be_revised_and_then_ends_like_any_other_restore() -> None:
    regressed = new_install(phase=Phase.SUCCEEDED, metrics={"speech": 0.9}).after(Event.REGRESS, error="it broke down")
    assert (regressed.phase, regressed.tries, regressed.error) == (Phase.RESTORING, 0, "it broke down")
    assert regressed.metrics == {"speech": 0.9}
    assert [phase for phase, row in NEXT.items() if Event.REGRESS in row] == [Phase.SUCCEEDED]


def test_a_phase_that_never_ends_is_given_up_even_when_it_is_the_restore() -> None:
    assert new_install(phase=Phase.RESTORING, tries=MAX_TRIES).exhausted
