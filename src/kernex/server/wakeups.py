"""Wake those who wait when something changed. A hint, never a message: who wakes reads the database."""

import asyncio
import contextlib


class Wakeups:
    """One event that any thread may set and many tasks of one loop wait for."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def poke(self) -> None:
        """Something that others may wait for is now in the database."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def subscribe(self) -> asyncio.Event:
        """An event of one's own, for `wait`."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    @staticmethod
    async def wait(event: asyncio.Event, at_most_s: float) -> None:
        """Until somebody pokes or the time is over; the event is cleared, so look at everything now."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), at_most_s)
        event.clear()

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
