"""Spans of time as people write and read them: ``90s``, ``30m``, ``24h``, ``7d``."""

import re

from kernex.domain.errors import RejectedError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str) -> int:
    """Seconds, or RejectedError. A number alone has no unit and is refused: 30 what?"""
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*([smhd])\s*", text)
    if match is None or int(match[1]) == 0:
        raise RejectedError(f"cannot read {text[:40]!r} as a span of time: write 90s, 30m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def say(seconds: float) -> str:
    """In the largest unit that fits, as ``parse`` reads it; below ten seconds with a decimal."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
