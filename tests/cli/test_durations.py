"""Spans of time are written with their unit and read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.cli import durations
from kernex.domain.errors import RejectedError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), (" 7 d ", 604800)])
def test_a_number_with_a_unit_is_a_span(text: str, seconds: int) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "0m", "-1h", "1.5h", "1h30m", "1 fortnight", "9" * 50 + "d"])
def test_anything_else_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot read .* write 90s, 30m, 24h or 7d$"):
        durations.parse(text)


@given(st.integers(10, 10**9))
def test_what_is_said_can_be_read_and_is_close(seconds: int) -> None:
    assert durations.parse(durations.say(seconds)) == pytest.approx(seconds, rel=0.26)


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0.0s"), (0.84, "0.8s"), (9.94, "9.9s"), (9.96, "10s"), (119, "119s"), (120, "2m")]
)
def test_short_spans_have_a_decimal(seconds: float, said: str) -> None:
    assert durations.say(seconds) == said
