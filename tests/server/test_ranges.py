"""Which part a request gets: RFC 9110 §14, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.server.http.ranges import Part, UnsatisfiableError, wanted

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=0-1000000", 0, 100),
        ("bytes=40-", 40, 100),
        ("bytes=99-", 99, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("BYTES=10-19", 10, 20),
    ],
)
def test_a_single_range_is_served(header: str, start: int, end: int) -> None:
    assert wanted(100, ETAG, header, None) == Part(start, end, partial=True)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-3", "items=0-5", "bytes=0-1,5-6", "bytes=--5"],
)
def test_what_is_no_single_range_gets_the_whole(header: str | None) -> None:
    assert wanted(100, ETAG, header, None) == Part(0, 100, partial=False)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_outside_is_refused(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        wanted(100, ETAG, header, None)


@pytest.mark.parametrize(
    ("if_range", "partial"),
    [
        (ETAG, True),
        (f" {ETAG} ", True),
        ('"other"', False),
        ('W/"abc"', False),
        ("Tue, 24 Nov 2026 00:00:00 GMT", False),
    ],
)
def test_a_changed_object_never_mixes(if_range: str, partial: bool) -> None:
    assert wanted(100, ETAG, "bytes=5-", if_range).partial is partial


@given(size=st.integers(1, 10**15), header=st.text(max_size=40) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}"))
def test_any_header_gives_a_part_inside_or_a_refusal(size: int, header: str) -> None:
    try:
        part = wanted(size, ETAG, header, None)
    except UnsatisfiableError:
        return
    assert 0 <= part.start < part.end <= size
