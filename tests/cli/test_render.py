"""Devices and servers name things. Nothing that they say steers the terminal of who reads it."""

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kernex.cli import render
from kernex.cli.render import Column
from kernex.domain.errors import NotFoundError

HOSTILE = [
    "\x1b[2J\x1b[Hroot#",  # clears the screen
    "\x1b]0;owned\x07",  # sets the title
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",  # a link
    "\x1b]52;c;cm0gLXJm\x07",  # the clipboard
    "\x9b31mred",  # CSI in one byte
    "ok\rerror: ",  # overwrites the line
    "a\x08\x08b",
    "right\u202etfel",  # bidirectional override
    "zero\u200bwidth\ufeff",
    "line paragraph end",
    "\x1bPq#0;2;0;0;0#0~~@@vv\x1b\\",  # DCS
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_steers_a_terminal_is_taken_out(text: str) -> None:
    said = render.clean(text)
    assert not any(unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"} for sign in said)


def test_a_sequence_goes_as_a_whole_and_leaves_no_rubbish() -> None:
    assert render.clean("\x1b[31mred\x1b[0m, \x1b]0;title\x07plain") == "red, plain"


@given(st.text())
def test_no_text_gets_a_steering_sign_through(text: str) -> None:
    assert not any(unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for sign in render.clean(text))


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_only_says_something_is_kept(text: str) -> None:
    assert render.clean(text) == text


def test_markup_in_a_table_is_text() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    console.print(render.table([Column("name", lambda one: one)], ["[bold red]alarm[/]", "[link=http://evil]x[/link]"]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO from above
    assert "[bold red]alarm[/]" in printed
    assert "[link=http://evil]" in printed
    assert "\x1b]8;" not in printed


def test_a_cell_is_cut_and_a_line_break_in_it_is_a_space() -> None:
    assert render.short("a\nb\tc") == "a b c"
    assert len(render.short("x" * 10_000)) == render.MAX_CELL


def test_json_is_ascii_whatever_it_carries(capsys: pytest.CaptureFixture[str]) -> None:
    render.data({"label": "\x9b31m\u202eé\x1b[2J"}, "jsonl")
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed) == {"label": "\x9b31m\u202eé\x1b[2J"}


def test_an_unknown_state_of_a_newer_server_is_shown_as_it_is() -> None:
    assert render.state("half_baked\x1b[2J").plain == "? half baked"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_327_524, "2.3 MB"), (5e9, "5.0 GB")]
)
def test_sizes_are_decimal(count: float, said: str) -> None:
    assert render.size(count) == said


def test_a_problem_says_the_error_and_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotFoundError("cannot find \x1b[2Jx")
    error.add_note("kernex device list")
    render.problem(error, "table")
    assert capsys.readouterr().err == "error: cannot find x\nhint: kernex device list\n"


def test_a_problem_in_json_is_one_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotFoundError("cannot find x")
    error.add_note("kernex device list")
    render.problem(error, "jsonl")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err) == {
        "type": "about:blank",
        "title": "not found",
        "detail": "cannot find x",
        "exit_code": 4,
        "hint": "kernex device list",
    }
