"""The one place that asks the time. Everything else gets it as a `Clock` or as an argument."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

#: Unix time in seconds.
Clock = Callable[[], float]


def system_clock() -> float:
    return time.time()


def milliseconds(clock: Clock) -> int:
    return int(clock() * 1000)


def timestamp(ms: int) -> datetime:
    """Stored milliseconds as the wire says them: RFC 3339 in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
