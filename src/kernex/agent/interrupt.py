"""How work is stopped: an install by a cancel command, everything by the end of the agent."""

import threading
import time

_GLANCE_S = 0.2  # between two looks for a cancel


class Interrupted(BaseException):
    """The agent ends: let go of everything; the journal knows where to go on. Not an error, and nothing that
    catches errors may catch it."""


class Stop:
    """Asked for by one thread, honoured by another. `cancelled` concerns one install, `quitting` all."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._quit = threading.Event()

    def cancel(self) -> None:
        self._cancel.set()

    def quit(self) -> None:
        self._quit.set()

    def renew(self) -> None:
        """Forget a cancel: the next install begins."""
        self._cancel.clear()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    @property
    def quitting(self) -> bool:
        return self._quit.is_set()

    def check(self) -> None:
        if self._quit.is_set():
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the agent."""
        if self._quit.wait(seconds):
            raise Interrupted

    def sleep_unless_cancelled(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the agent or of this install."""
        end = time.monotonic() + seconds
        while not self.cancelled and (left := end - time.monotonic()) > 0:
            self.sleep(min(left, _GLANCE_S))
