"""Following a deployment: every change is told once, the end is judged by what was asked for."""

import io
import itertools
from collections.abc import Callable

import msgspec
import pytest
from rich.console import Console
from tests.cli.samples import DEPLOYMENT, assignment, device_id, snapshot
from tests.cli.scripted import Answer, scripted

from kernex.cli import watch
from kernex.cli.client import ControlPlane
from kernex.cli.exit_codes import DeploymentFailedError, WaitTimeoutError
from kernex.cli.watch import Snapshot
from kernex.domain.errors import UnavailableError
from kernex.wire.operator import Page

WAITING = snapshot(assignment(1, "offered"), assignment(2, "pending", wave=2))
PROBING = snapshot(assignment(1, "installing", phase="probing"), assignment(2, "pending", wave=2))
STOPPED = snapshot(
    assignment(1, "rolled_back", error_message="speech 0 (needs >=0.8)", metrics={"speech": 0.0}),
    assignment(2, "cancelled", wave=2),
    status="aborted",
    reason="1 of 2 devices failed, at most 0 may",
    settled=True,
)
DONE = snapshot(
    assignment(1, "succeeded", metrics={"speech": 0.9}),
    assignment(2, "succeeded", wave=2),
    open_waves=2,
    status="completed",
    settled=True,
)


def _lines(before: Snapshot | None, now: Snapshot) -> list[str]:
    return [line.plain for line in watch.changes(before, now, {device_id(1): "edge-01"})]


def test_the_first_look_tells_how_it_stands() -> None:
    assert _lines(None, WAITING) == [
        "wave 1 of 2 opens: 1 device",
        "edge-01  ◔ offered",
        "vad==2.0.0  ▶ running",
    ]


def test_what_did_not_change_is_not_told_again() -> None:
    assert _lines(WAITING, WAITING) == []


def test_a_phase_an_outcome_and_its_reason_are_told() -> None:
    assert _lines(WAITING, PROBING) == ["edge-01  ⟳ installing, probing"]
    assert _lines(PROBING, STOPPED) == [
        "edge-01  ↩ rolled back  speech 0 (needs >=0.8)",
        "00000002  ⊘ cancelled",
        "vad==2.0.0  ✖ aborted: 1 of 2 devices failed, at most 0 may",
    ]
    assert "edge-01  ✔ succeeded  speech 0.9" in _lines(PROBING, DONE)


def _drawn(now: Snapshot, rows: int = 20) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(watch.picture(now, {}, rows=rows))
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # it is the StringIO from above


def test_the_picture_shows_waves_devices_and_reasons() -> None:
    drawn = _drawn(STOPPED)
    for words in ("vad==2.0.0", "site=lyon  (2 devices)", "✖ aborted", "✖ wave 1", "1/1", "speech 0 (needs >=0.8)"):
        assert words in drawn


def test_a_wave_that_never_opened_is_not_drawn_as_done() -> None:
    first, second = (line for line in _drawn(STOPPED).splitlines() if " wave " in line)
    assert "1/1" in first
    assert "0/1" in second
    assert second.rstrip().endswith("1 cancelled")


def test_failures_come_first_and_the_rest_is_counted() -> None:
    many = [assignment(number, "succeeded") for number in range(1, 50)]
    drawn = _drawn(snapshot(*many, assignment(99, "broken")), rows=3)
    assert drawn.index("00000063") < drawn.index("00000001")
    assert "… and 47 more" in drawn


def test_a_hostile_reason_draws_nothing_of_its_own() -> None:
    evil = assignment(1, "failed", error_message="\x1b[2J[bold]x", metrics={"\x1b[31mm": 1.0})
    assert "\x1b" not in _drawn(snapshot(evil))
    assert "[bold]x" in _drawn(snapshot(evil))


def test_all_that_was_asked_for_is_no_error() -> None:
    watch.judge(DONE)


@pytest.mark.parametrize("outcome", ["failed", "rolled_back", "broken", "timed_out", "cancelled", "superseded"])
def test_one_device_that_does_not_run_it_is_an_error(outcome: str) -> None:
    ended = snapshot(assignment(1, "succeeded"), assignment(2, outcome), status="completed", settled=True)
    with pytest.raises(DeploymentFailedError, match=f"1 succeeded, 1 {outcome.replace('_', ' ')}"):
        watch.judge(ended)


def test_an_aborted_deployment_is_an_error_with_its_reason() -> None:
    with pytest.raises(DeploymentFailedError, match="aborted: 1 of 2 devices failed") as caught:
        watch.judge(STOPPED)
    assert caught.value.__notes__ == [f"see why: kernex deployment show {DEPLOYMENT}"]


def _replay(*looks: Snapshot | None) -> Callable[[str], Answer]:
    """A control plane that goes through `looks` and stays at the last; at None it is out of order."""
    left = itertools.chain(looks, itertools.repeat(looks[-1]))
    now: list[Snapshot] = []

    def script(path: str) -> Answer:
        if "/assignments" in path:
            return 200, msgspec.json.encode(Page(now[-1].assignments))
        look = next(left)
        if look is None:
            return 503, b"{}"
        now.append(look)
        return 200, msgspec.json.encode(look.detail)

    return script


def test_it_is_followed_until_nothing_changes_any_more() -> None:
    with scripted(_replay(WAITING, PROBING, STOPPED)) as url, ControlPlane(url, None) as control:
        seen = list(watch.follow(control, DEPLOYMENT, poll_s=0.01))
    assert seen == [WAITING, PROBING, STOPPED]


def test_a_status_that_is_final_is_not_the_end_while_a_device_is_at_work() -> None:
    aborting = snapshot(assignment(1, "cancelling"), status="aborted")
    with scripted(_replay(aborting, STOPPED)) as url, ControlPlane(url, None) as control:
        assert list(watch.follow(control, DEPLOYMENT, poll_s=0.01))[-1] == STOPPED


def test_a_control_plane_that_restarts_is_waited_for() -> None:
    with scripted(_replay(WAITING, None, None, DONE)) as url, ControlPlane(url, None) as control:
        assert list(watch.follow(control, DEPLOYMENT, poll_s=0.01)) == [WAITING, DONE]


def test_a_control_plane_that_stays_away_is_not_waited_for_for_ever() -> None:
    with (
        scripted(_replay(WAITING, None)) as url,
        ControlPlane(url, None) as control,
        pytest.raises(UnavailableError),
    ):
        list(watch.follow(control, DEPLOYMENT, poll_s=0.01, outage_s=0.1))


def test_time_to_wait_ends_and_says_how_to_come_back() -> None:
    with (
        scripted(_replay(WAITING)) as url,
        ControlPlane(url, None) as control,
        pytest.raises(WaitTimeoutError, match="goes on") as caught,
    ):
        list(watch.follow(control, DEPLOYMENT, timeout_s=0.05, poll_s=0.01))
    assert f"kernex deployment watch {DEPLOYMENT}" in caught.value.__notes__[0]


def test_a_pipe_gets_lines_and_a_terminal_is_redrawn() -> None:
    pipe, terminal = io.StringIO(), io.StringIO()
    assert watch.show(Console(file=pipe, width=120), [WAITING, DONE]) == DONE
    assert watch.show(Console(file=terminal, width=120, force_terminal=True), [WAITING, DONE]) == DONE
    assert "\x1b" not in pipe.getvalue()
    assert pipe.getvalue().count("wave 1 of 2 opens") == 1
    assert "\x1b[1A" in terminal.getvalue()
