"""What is printed. Data goes to stdout, everything else to stderr.

Names, labels and messages come from devices and from servers, and either may be hostile: `clean` takes out
everything that steers a terminal, and text reaches rich as `Text`, in which it looks for no markup.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, Literal, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kernex.cli import durations
from kernex.cli.exit_codes import code_of, hint_of
from kernex.domain.errors import KernexError

T = TypeVar("T")

Format = Literal["table", "json", "jsonl", "name"]
MAX_CELL = 500  # characters of one value in a table; JSON prints it whole
_PIPE_WIDTH = 100_000  # columns: what is piped is never folded

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"
)
#: Control, format (bidirectional overrides, zero width), surrogate, private, line and paragraph separator.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

#: How the states of deployments, assignments and devices look: never by colour alone.
_LOOK = {
    "running": ("▶", "yellow"),
    "completed": ("✔", "green"),
    "aborted": ("✖", "red"),
    "pending": ("◌", "dim"),
    "offered": ("◔", "cyan"),
    "installing": ("⟳", "cyan"),
    "cancelling": ("⊘", "yellow"),
    "succeeded": ("✔", "green"),
    "failed": ("✖", "red"),
    "rolled_back": ("↩", "red"),
    "broken": ("‼", "bold red"),
    "timed_out": ("✖", "red"),
    "cancelled": ("⊘", "dim"),
    "superseded": ("⊘", "dim"),
    "accepted": ("✔", "green"),
    "revoked": ("⊘", "red"),
}


@cache
def out() -> Console:
    """Where data goes."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Where everything that is not data goes."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def clean(value: object) -> str:
    """A value as one line of text that only says something."""
    text = _SEQUENCES.sub("", str(value).replace("\n", " ").replace("\t", " "))
    return "".join(sign for sign in text if unicodedata.category(sign) not in _STEERING)


def short(value: object, limit: int = MAX_CELL) -> str:
    """`clean`, and cut."""
    text = clean(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def state(word: str) -> Text:
    """A state with its sign and colour."""
    sign, style = _LOOK.get(word, ("?", ""))
    return Text(f"{sign} {short(word, 40).replace('_', ' ')}", style=style)


def pairs(values: dict[str, Any]) -> str:
    """Labels and the like: ``site=lyon,rack=3``."""
    return ",".join(f"{key}={value}" for key, value in sorted(values.items()))


def ago(moment: datetime | None) -> str:
    """How long a moment is past."""
    return "never" if moment is None else f"{durations.say((datetime.now(UTC) - moment).total_seconds())} ago"


def ahead(moment: datetime) -> str:
    """How far a moment lies ahead."""
    left = (moment - datetime.now(UTC)).total_seconds()
    return "over" if left <= 0 else f"in {durations.say(left)}"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    title: str
    cell: Callable[[T], object]


def table(columns: Sequence[Column[T]], items: Iterable[T]) -> Table:
    """Rows without lines around them, as people read and scripts cut them."""
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column.title.upper(), overflow="fold")
    for item in items:
        grid.add_row(*(_cell(column.cell(item)) for column in columns))
    return grid


def listing(
    items: Iterable[T], output: Format, columns: Sequence[Column[T]], name: Callable[[T], str], *, empty: str
) -> None:
    """Print many things. `empty` says, where there is nothing, what to do next."""
    if output == "table":
        rows = list(items)
        if rows:
            out().print(table(columns, rows))
        else:
            say(empty)
    elif output == "json":
        data(list(items), output)
    else:
        for item in items:
            print(clean(name(item))) if output == "name" else data(item, output)


def one(item: T, output: Format, fields: Sequence[tuple[str, object]], name: str) -> None:
    """Print one thing, field by field."""
    if output == "table":
        grid = Table.grid(padding=(0, 2, 0, 0))
        for title, value in fields:
            grid.add_row(Text(short(title), style="dim"), _cell(value))
        out().print(grid)
    elif output == "name":
        print(clean(name))
    else:
        data(item, output)


def data(value: object, output: Format) -> None:
    """Print a value of the wire as JSON; ASCII, so that no byte of it steers a terminal."""
    print(json.dumps(msgspec.to_builtins(value), indent=2 if output == "json" else None), flush=True)


def document(value: object) -> Text:
    """A JSON document for people to read; ASCII as in `data`."""
    return Text(json.dumps(value, indent=2))


def say(text: str | Text) -> None:
    """Say something to people."""
    err().print(Text(text) if isinstance(text, str) else text)


def mistake(words: str) -> Text:
    """How an error begins, on one line."""
    return Text.assemble(("error: ", "bold red"), clean(words))


def problem(error: KernexError, output: Format) -> None:
    """Say what could not be done, and the way out; where JSON is asked for, as in RFC 9457."""
    hint = hint_of(error)
    if output in ("json", "jsonl"):
        code = code_of(error)
        document = {
            "type": "about:blank",
            "title": code.title,
            "detail": str(error),
            "exit_code": int(code),
            "hint": hint,
        }
        print(json.dumps({key: value for key, value in document.items() if value is not None}), file=sys.stderr)
        return
    say(mistake(str(error)))
    if hint:
        say(Text.assemble(("hint: ", "cyan"), clean(hint)))


def _cell(value: object) -> Text:
    return value if isinstance(value, Text) else Text(short(value))
