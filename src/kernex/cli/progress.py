"""Progress of bytes: a bar with rate and time left on a terminal, a line every tenth on a pipe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from kernex.cli import render
from kernex.domain.errors import NotFoundError

SMALL = 1_000_000  # bytes; what is smaller gets one line on a pipe, when it is done


class Advance(Protocol):
    def __call__(self, count: int, /) -> None:
        """`count` more bytes are done."""


@contextmanager
def bar(what: str, total: int) -> Iterator[Advance]:
    """Show how `total` bytes are worked off."""
    if not render.err().is_terminal:
        yield _lines(what, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=render.err(), transient=True) as progress:
        task = progress.add_task(render.short(what, 60), total=total)
        yield lambda count: progress.advance(task, count)


def _lines(what: str, total: int) -> Advance:
    started = time.monotonic()
    done = said = 0

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        tenths = 10 * done // total if total >= SMALL else 10 * (done == total)
        if tenths > said:
            said = tenths
            rate = done / max(time.monotonic() - started, 1e-6)
            render.say(f"{what} {10 * tenths}% of {render.size(total)}, {render.size(rate)}/s")

    return advance


@contextmanager
def opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file that shows its progress while it is read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None
    with file, bar(what, path.stat().st_size) as advance:
        yield cast("BinaryIO", _Watched(file, advance))


class _Watched:
    """The part of a file that an upload uses; every read counts."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance

    def read(self, count: int = -1) -> bytes:
        piece = self._file.read(count)
        self._advance(len(piece))
        return piece

    def fileno(self) -> int:
        return self._file.fileno()
