"""Selectors: which devices an expression picks, and that it is read as it is written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.device import properties
from kernex.domain.errors import RejectedError
from kernex.domain.selector import MAX_LENGTH, Selector, Term, lookup, unmet

BOARD: dict[str, Any] = {
    "site": "lyon",
    "arch": "aarch64",
    "kernel": "6.10.2",
    "simulated": False,
    "disk_free_mb": 12000,
    "load": 0.25,
    "accelerators": ["cuda", "tensorrt"],
    "gpu": {"memory_mb": 8192, "name": "Orin NX"},
    "gpu.vendor": "nvidia",
    "site.rack": "7",
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "  ",
        "site=lyon",
        "site==lyon",
        " site = lyon , arch=aarch64 ",
        "site!=paris",
        "unheard-of!=1",
        "arch in (aarch64, x86_64)",
        "arch notin (x86_64)",
        "unheard-of notin (a,b)",
        "gpu.name in (Orin NX)",
        "site",
        "!unheard-of",
        "gpu.memory_mb>=8000",
        "gpu.memory_mb=8192",
        "disk_free_mb>9000",
        "load<0.5",
        "kernel>6.9",
        "kernel<=6.10.2",
        "accelerators=cuda",
        "accelerators in (hailo,tensorrt)",
        "accelerators!=hailo",
        "simulated=false",
        "gpu.vendor=nvidia",
        "site.rack=7",
        "gpu",
    ],
)
def test_the_board_in_lyon_is_picked(text: str) -> None:
    assert Selector.parse(text).matches(BOARD)


@pytest.mark.parametrize(
    "text",
    [
        "site=paris",
        "site=lyon,arch=x86_64",
        "site!=lyon",
        "arch in (x86_64)",
        "arch notin (aarch64,x86_64)",
        "unheard-of",
        "!site",
        "unheard-of=1",
        "unheard-of>1",
        "gpu.memory_mb>8192",
        "gpu.memory_mb>=many",
        "kernel<6.9",  # a version, not a decimal: 6.10 is newer
        "site>1",
        "accelerators>1",
        "accelerators!=cuda",
        "simulated>0",
        "gpu.memory_mb.more=1",
        "gpu.cores",
    ],
)
def test_the_board_in_lyon_is_not_picked(text: str) -> None:
    assert not Selector.parse(text).matches(BOARD)


@pytest.mark.parametrize(
    "text",
    [
        "=",
        ",",
        "a,,b",
        "a=b,",
        "a b",
        "a in",
        "a in ()",
        "a in (b",
        "a=b c",
        "!!a",
        "!",
        "a=>1",
        "-a",
        "a=(b)",
        "* ,a",
        "a=b;c",
        "é=1",
    ],
)
def test_what_is_no_selector_is_refused_and_never_picks_more_than_was_meant(text: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot "):
        Selector.parse(text)


def test_an_endless_selector_is_refused_before_it_is_read() -> None:
    with pytest.raises(RejectedError, match=f"{MAX_LENGTH} at most"):
        Selector.parse("a," * MAX_LENGTH)


keys = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,12}", fullmatch=True)
values = st.from_regex(r"[A-Za-z0-9_.:/+-]{1,12}", fullmatch=True)
loose_values = st.from_regex(r"[^(),\s]([^(),]{0,8}[^(),\s])?", fullmatch=True).filter(
    lambda text: text == text.strip()
)
terms = st.one_of(
    st.builds(Term, keys, st.sampled_from(["exists", "!exists"])),
    st.builds(Term, keys, st.sampled_from(["in", "notin"]), st.lists(loose_values, min_size=1, max_size=4).map(tuple)),
    st.builds(Term, keys, st.sampled_from(["<", "<=", ">", ">="]), st.tuples(values)),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=8,
)


@given(st.builds(Selector, st.lists(terms, max_size=5).map(tuple)))
def test_a_selector_reads_back_as_it_was_written(selector: Selector) -> None:
    assert Selector.parse(str(selector)) == selector


@given(st.text(st.sampled_from("ab1 .,=!<>()*in-"), max_size=24))
def test_any_text_is_refused_or_means_the_same_when_written_again(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except RejectedError:
        return
    assert Selector.parse(str(selector)) == selector


@given(st.lists(terms, max_size=4), st.dictionaries(keys, json_values, max_size=4))
def test_no_fact_of_a_hostile_device_breaks_a_selector(some: list[Term], facts: dict[str, Any]) -> None:
    facts |= {term.key: facts.get(term.key) for term in some}
    Selector(tuple(some)).matches(facts)
    unmet({term.key: f">={term.values[0]}" for term in some if term.values}, facts)


def test_a_number_too_large_for_a_float_is_compared_all_the_same() -> None:
    assert Selector.parse("gpu.memory_mb>=8000").matches({"gpu": {"memory_mb": 10**400}})


@given(st.lists(terms, max_size=3), st.lists(terms, max_size=3), st.dictionaries(keys, values))
def test_a_comma_means_and(left: list[Term], right: list[Term], facts: dict[str, str]) -> None:
    both = Selector((*left, *right))
    assert both.matches(facts) == (Selector(tuple(left)).matches(facts) and Selector(tuple(right)).matches(facts))


@pytest.mark.parametrize(("one", "other"), [("a=b", "a!=b"), ("a in (b,c)", "a notin (b,c)"), ("a", "!a")])
@given(facts=st.fixed_dictionaries({}, optional={"a": json_values}))
def test_opposites_never_agree(one: str, other: str, facts: dict[str, Any]) -> None:
    assert Selector.parse(one).matches(facts) != Selector.parse(other).matches(facts)


def test_what_operators_say_wins_over_what_the_device_says() -> None:
    assert Selector.parse("site=lyon").matches(properties({"site": "paris"}, {"site": "lyon"}))
    assert Selector.parse("gpu.vendor=amd").matches(properties({"gpu": {"vendor": "nvidia"}}, {"gpu.vendor": "amd"}))


def test_the_longest_literal_key_is_looked_up_first() -> None:
    nested = {"a": {"b": {"c": 1}, "b.c": 2}, "a.b": {"c": 3}}
    assert lookup(nested, "a.b.c") == 3
    assert lookup({"a": nested["a"]}, "a.b.c") == 2
    assert lookup(nested, "a.x") is None


@pytest.mark.parametrize(
    ("requires", "reasons"),
    [
        ({}, []),
        ({"arch": "x86_64|aarch64", "gpu.memory_mb": ">=4000", "kernel": ">= 5.10"}, []),
        ({"gpu.name": "Orin NX"}, []),
        ({"arch": "x86_64"}, ["arch must be x86_64, the device has aarch64"]),
        ({"gpu.memory_mb": ">=16000"}, ["gpu.memory_mb must be >=16000, the device has 8192"]),
        ({"npu.tops": ">1", "site": "lyon"}, ["npu.tops must be >1, the device has none"]),
        (
            {"arch": "x86_64", "site": "paris"},
            ["arch must be x86_64, the device has aarch64", "site must be paris, the device has lyon"],
        ),
    ],
)
def test_a_device_that_lacks_something_is_told_all_of_it(requires: dict[str, str], reasons: list[str]) -> None:
    assert unmet(requires, BOARD) == reasons
