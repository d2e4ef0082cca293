"""Which part of a representation a request wants (RFC 9110 §13.1.5, §14)."""

import re
from dataclasses import dataclass

from kernex.domain.errors import RejectedError

_SINGLE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


class UnsatisfiableError(RejectedError):
    """The range lies outside what there is."""

    def __init__(self, size: int) -> None:
        super().__init__(f"cannot send that range: there are {size} bytes")
        self.size = size


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `start` up to `end`, exclusive; `partial` when a range was asked for."""

    start: int
    end: int
    partial: bool


def wanted(size: int, etag: str, range_header: str | None, if_range: str | None) -> Part:
    """The part to send. What is no single byte range is ignored, as the RFC allows; a range with an
    ``If-Range`` that is not exactly our strong `etag` gets the whole."""
    whole = Part(0, size, partial=False)
    match = _SINGLE.fullmatch(range_header or "")
    if match is None or (if_range is not None and if_range.strip() != etag):
        return whole
    first, last = match[1], match[2]
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return whole
    elif last:
        start, end = max(0, size - int(last)), size
    else:
        return whole
    if start >= size or (not first and int(last) == 0):
        raise UnsatisfiableError(size)
    return Part(start, end, partial=True)
