"""Waves, limits and the one decision function, under any fleet and any luck."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain import assignment
from kernex.domain.assignment import ACTIVE, FAILURES
from kernex.domain.deployment import (
    MAX_WAVES,
    Abort,
    Complete,
    Hold,
    OpenWave,
    Progress,
    Share,
    Strategy,
    advance,
)
from kernex.domain.errors import RejectedError

counts = st.integers(0, 999_999_999).map(str)
percentages = st.decimals(0, 100, places=6).map(lambda number: f"{number:f}%")
shares = st.one_of(counts, percentages)
strategies = st.builds(
    lambda waves, limit: Strategy.parse([*waves, "100%"], limit), st.lists(shares, max_size=6), shares
)
tallies = st.lists(st.dictionaries(st.sampled_from(assignment.State), st.integers(0, 5), max_size=5), max_size=5)


@pytest.mark.parametrize(
    ("text", "of_200", "as_limit"),
    [
        ("5", 5, 5),
        (5, 5, 5),
        ("25%", 50, 50),
        ("0.1%", 1, 0),
        (" 1 % ", 2, 2),
        ("33.3%", 67, 66),
        ("0", 0, 0),
        ("900", 200, 900),
    ],
)
def test_a_share_rounds_up_as_a_wave_and_down_as_a_limit(text: str | int, of_200: int, as_limit: int) -> None:
    share = Share.parse(text)
    assert share.rounded_up(200) == of_200
    assert share.rounded_down(200) == as_limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "-1",
        "1.5",
        "1e3",
        "all",
        "101%",
        "100.000001%",
        "5 %%",
        "0x5",
        "٣",
        "nan",
        "1/2",
        "1_0",
        "9" * 10,
        -1,
        1.5,
    ],
)
def test_what_is_no_number_of_devices_is_refused(text: str | int) -> None:
    with pytest.raises(RejectedError, match=r"^cannot "):
        Share.parse(text)


@given(shares)
def test_a_share_reads_back_as_it_was_written(text: str) -> None:
    share = Share.parse(text)
    assert Share.parse(str(share)) == share


@given(strategies, st.integers(0, 2_000_000))
def test_waves_cover_every_device_once_and_none_is_empty(strategy: Strategy, targets: int) -> None:
    sizes = strategy.sizes(targets)
    assert sum(sizes) == targets
    assert all(size > 0 for size in sizes)
    assert len(sizes) <= len(strategy.waves)


@pytest.mark.parametrize(
    ("waves", "targets", "sizes"),
    [
        (["100%"], 8, [8]),
        (["1", "25%", "100%"], 8, [1, 1, 6]),
        (["1", "25%", "100%"], 1, [1]),
        (["50%", "10%", "100%"], 10, [5, 5]),  # cumulative: a smaller number adds nobody
        (["0", "0%", "100%"], 3, [3]),
        (["500", "100%"], 3, [3]),
        (["100%"], 0, []),
    ],
)
def test_waves_are_cumulative(waves: list[str | int], targets: int, sizes: list[int]) -> None:
    assert Strategy.parse(waves).sizes(targets) == sizes


@pytest.mark.parametrize("waves", [[], ["50%"], ["100%", "50%"], ["100"], ["100%"] * (MAX_WAVES + 1)])
def test_a_strategy_that_leaves_devices_out_or_never_ends_is_refused(waves: list[str | int]) -> None:
    with pytest.raises(RejectedError, match=r"^cannot "):
        Strategy.parse(waves)


def test_the_default_goes_to_all_at_once_and_stands_no_failure() -> None:
    assert Strategy() == Strategy.parse(["100%"], 0)


@given(tallies, strategies, st.data())
def test_the_limit_is_never_exceeded_silently_and_never_enforced_early(
    waves: list[dict[assignment.State, int]], strategy: Strategy, data: st.DataObject
) -> None:
    decision = advance(Progress(data.draw(st.integers(0, len(waves))), waves, strategy))
    total = sum((Counter(tally) for tally in waves), Counter[assignment.State]())
    breach = sum(total[state] for state in FAILURES) > strategy.max_failures.rounded_down(total.total())
    assert isinstance(decision, Abort) == breach


@given(tallies, strategies, st.data())
def test_a_wave_opens_only_in_order_and_never_beside_a_device_at_work(
    waves: list[dict[assignment.State, int]], strategy: Strategy, data: st.DataObject
) -> None:
    opened = data.draw(st.integers(0, len(waves)))
    at_work = any(tally.get(state, 0) for tally in waves[:opened] for state in ACTIVE)
    match advance(Progress(opened, waves, strategy)):
        case OpenWave(wave):
            assert wave == opened + 1
            assert wave <= len(waves)
            assert not at_work
        case Complete():
            assert opened == len(waves)
            assert not at_work
        case Hold():
            assert at_work
        case Abort(reason):
            assert "devices failed, at most" in reason


@given(strategies, st.integers(0, 40), st.data())
def test_a_deployment_whose_devices_end_always_ends(strategy: Strategy, targets: int, data: st.DataObject) -> None:
    """Play one from its creation: devices of open waves end one by one, in any order, in any way."""
    waves = [Counter({assignment.State.PENDING: size}) for size in strategy.sizes(targets)]
    open_waves = failed = 0
    outcomes = st.sampled_from(sorted(assignment.OUTCOMES))
    for _ in range(2 * targets + len(waves) + 1):
        match advance(Progress(open_waves, waves, strategy)):
            case OpenWave(wave):
                open_waves = wave
            case Hold():
                wave_at_work = next(tally for tally in waves[:open_waves] if tally[assignment.State.PENDING])
                outcome = data.draw(outcomes)
                wave_at_work[assignment.State.PENDING] -= 1
                wave_at_work[outcome] += 1
                failed += outcome in FAILURES
            case Complete():
                assert failed <= strategy.max_failures.rounded_down(targets)
                return
            case Abort():
                assert failed == strategy.max_failures.rounded_down(targets) + 1, "the first failure too many stops it"
                return
    pytest.fail("it never ended")


def test_one_failed_canary_leaves_all_other_devices_untouched() -> None:
    waves = [{assignment.State.ROLLED_BACK: 1}, {assignment.State.PENDING: 7}]
    assert advance(Progress(1, waves, Strategy.parse(["1", "100%"]))) == Abort("1 of 8 devices failed, at most 0 may")


def test_a_cancelled_or_superseded_device_is_no_failure() -> None:
    waves = [{assignment.State.CANCELLED: 1, assignment.State.SUPERSEDED: 1}, {assignment.State.PENDING: 6}]
    assert advance(Progress(1, waves, Strategy.parse(["2", "100%"]))) == OpenWave(2)
