"""Options that many commands share, and how the words of a command line are checked before anything is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from kernex.cli import durations
from kernex.cli.client import ControlPlane
from kernex.cli.render import Format
from kernex.domain.errors import RejectedError
from kernex.domain.selector import Selector

DEFAULT_URL = "http://127.0.0.1:8440"

_SHARED = Group("Options of every command", sort_key=1)


def checked(parse: Callable[[str], Any]) -> Callable[[Any, Any], None]:
    """A validator that refuses what `parse` refuses, as a mistake in how the command was written."""

    def validate(_: Any, value: str | list[str] | None) -> None:
        for text in [] if value is None else value if isinstance(value, list) else [value]:
            try:
                parse(text)
            except RejectedError as error:
                raise ValueError(str(error)) from None

    return validate


def _nonempty_selector(text: str) -> None:
    if not text.strip():
        raise RejectedError("cannot take an empty selector: write '*' for every device")
    Selector.parse(text)


Output = Annotated[
    Format,
    Parameter(name=["--output", "-o"], env_var="KERNEX_OUTPUT", group=_SHARED, help="How to print: name is ids alone."),
]
SelectorText = Annotated[str, Parameter(validator=checked(_nonempty_selector))]
Span = Annotated[str, Parameter(validator=checked(durations.parse))]
Timeout = Annotated[
    Span | None, Parameter(show_default=False, help="Give up waiting after this long, like 30m, with exit code 7.")
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Connection:
    """Which control plane, and as whom."""

    url: Annotated[str, Parameter(env_var="KERNEX_URL", group=_SHARED, help="The control plane.")] = DEFAULT_URL
    token: Annotated[
        str | None,
        Parameter(env_var="KERNEX_TOKEN", group=_SHARED, show_default=False, help="An API token, kxp_…"),
    ] = None

    def open(self) -> ControlPlane:
        return ControlPlane(self.url, self.token)


HERE = Connection()
