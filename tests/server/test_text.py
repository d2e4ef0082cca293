"""Text from outside, made fit to store and show."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.errors import RejectedError
from kernex.server.text import check_metadata, clean, cursor


@given(st.text())
def test_cleaned_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    cleaned = clean(text)
    assert all(char in "\n\t…" or char.isprintable() for char in cleaned)
    assert len(cleaned) <= 1025


def test_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 20, 10) == "x" * 10 + "…"


def test_nested_metadata_is_refused_beyond_its_depth() -> None:
    nested: dict[str, Any] = {}
    for _ in range(7):
        nested = {"a": nested}
    check_metadata("facts", nested)
    with pytest.raises(RejectedError, match="nested deeper"):
        check_metadata("facts", {"a": nested})


def test_large_metadata_is_refused() -> None:
    with pytest.raises(RejectedError, match="at most"):
        check_metadata("facts", {"a": "x" * 20_000})


@pytest.mark.parametrize("text", ["-1", "x", "1; DROP TABLE device", "9" * 40, "1.5", "٣"])
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(RejectedError, match="cursor"):
        cursor(text)


def test_no_cursor_starts_at_the_beginning() -> None:
    assert cursor(None) == 0
    assert cursor("12") == 12
