"""Ids as people give them: the first few characters are enough where only one thing starts so."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from kernex.cli import render
from kernex.domain.errors import NotFoundError, RejectedError

T = TypeVar("T")

WHOLE = 36  # characters of a UUID


def the_only(what: str, prefix: str, things: Iterable[T], ids: Callable[[T], Iterable[str]]) -> T:
    """The one among `things` with an id that starts with `prefix`; a whole id wins over a prefix."""
    found = []
    for thing in things:
        known = list(ids(thing))
        if prefix in known:
            return thing
        if any(one.startswith(prefix) for one in known):
            found.append(thing)
    if not found:
        missing = NotFoundError(f"cannot find the {what} {prefix!r}: no id starts so")
        missing.add_note(f"see what there is: kernex {what} list")
        raise missing
    if len(found) > 1:
        starts = ", ".join(render.clean(next(iter(ids(thing)))) for thing in found[:3])
        raise RejectedError(f"cannot tell which {what} {prefix!r} is: {len(found)} ids start so, like {starts}")
    return found[0]
