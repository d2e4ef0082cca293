"""When the next heartbeat goes: pure, so every rule is checked for all numbers."""

import math

from hypothesis import given
from hypothesis import strategies as st

from kernex.agent import pace

LIMITS = pace.Limits()
seconds = st.floats(min_value=-1e300, max_value=1e300)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


def after_reply(interval_s: float, long_poll_s: float = 0.0, **known: float) -> pace.Next:
    values = {"took_s": 0.1, "waited_s": 0.0, "chance": 0.5} | known
    early = int(values.pop("early", 0))
    return pace.after_reply(interval_s, long_poll_s, early=early, limits=LIMITS, **values)


def test_without_a_long_poll_the_interval_is_kept_give_or_take_a_fifth() -> None:
    assert math.isclose(after_reply(60, chance=0.0).delay_s, 48)
    assert math.isclose(after_reply(60, chance=0.5).delay_s, 60)
    assert after_reply(60, chance=0.999999).delay_s < 72


@given(seconds, seconds, chances)
def test_no_control_plane_can_make_a_device_spin_or_fall_silent(interval_s: float, offer: float, chance: float) -> None:
    following = after_reply(interval_s, min(offer, 0), chance=chance)
    assert pace.SHORTEST_S * 0.8 <= following.delay_s <= pace.LONGEST_S * 1.2
    assert following.wait_s == 0


def test_a_long_poll_that_was_held_is_followed_at_once() -> None:
    assert after_reply(60, 30, took_s=30, waited_s=30) == pace.Next(0.0, 30)


def test_the_first_long_poll_goes_at_once() -> None:
    assert after_reply(60, 30, took_s=0.1, waited_s=0) == pace.Next(0.0, 30)


@given(st.integers(min_value=1, max_value=10_000), chances)
def test_long_polls_that_come_back_early_keep_ever_more_distance(early: int, chance: float) -> None:
    following = after_reply(60, 30, took_s=0.0, waited_s=30, early=early, chance=chance)
    assert LIMITS.floor_s * 0.8 <= following.delay_s <= LIMITS.busy_s * 1.2
    assert following.wait_s == 30


def test_the_distance_of_early_answers_grows() -> None:
    delays = [after_reply(60, 30, took_s=0.0, waited_s=30, early=n).delay_s for n in (1, 2, 3, 4)]
    assert delays == [1, 2, 4, 5]


@given(st.integers(min_value=1, max_value=100_000), chances)
def test_errors_back_off_up_to_the_longest(failures: int, chance: float) -> None:
    delay_s = pace.after_error(failures, None, chance=chance, limits=LIMITS)
    assert 0 <= delay_s <= min(LIMITS.longest_s, LIMITS.first_s * 2.0 ** min(failures - 1, 1000))


@given(st.floats(min_value=0, max_value=1e9), chances)
def test_what_the_server_asks_for_is_waited_at_least(asked_s: float, chance: float) -> None:
    delay_s = pace.after_error(1, asked_s, chance=chance, limits=LIMITS)
    assert pace.clamp(asked_s) <= delay_s <= 2 * pace.clamp(asked_s)
