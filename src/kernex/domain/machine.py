"""The one shape of every state machine in Kernex: a table of cells.

``NEXT[state][event]`` is the state that follows. A missing cell is illegal; a repeat that must be
harmless is a cell that points to its own row. Nobody assigns a state except through `follow`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from kernex.domain.errors import IllegalTransition

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def follow(what: str, table: Mapping[S, Mapping[E, S]], state: S, event: E) -> S:
    """The state after `event`, or IllegalTransition in the words "cannot EVENT a WHAT that is STATE"."""
    try:
        return table[state][event]
    except KeyError:
        article = "an" if what[0] in "aeiou" else "a"
        raise IllegalTransition(f"cannot {event} {article} {what} that is {state}") from None
