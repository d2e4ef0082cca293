"""The thread in which an install runs: one at a time, and none while there is nothing to install."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from kernex.agent.install.journal import Journal
from kernex.agent.install.step import Workplace
from kernex.agent.interrupt import Interrupted
from kernex.domain.errors import KernexError
from kernex.domain.install import Install

log = logging.getLogger(__name__)

_JOURNAL_RETRY_S = 10.0


class Worker:
    """Runs what the journal says is unfinished. In its thread, `ended` is told every outcome, and after it
    `idle` that there is room for the next."""

    def __init__(
        self, workplace: Workplace, journal: Journal, ended: Callable[[Install], None], idle: Callable[[], None]
    ) -> None:
        self._workplace, self._journal, self._ended, self._idle = workplace, journal, ended, idle
        self._thread: threading.Thread | None = None
        self._busy, self._beginning = threading.Event(), threading.Lock()

    @property
    def busy(self) -> bool:
        return self._busy.is_set()

    @property
    def bytes_done(self) -> int:
        return self._workplace.progress.bytes_done

    def begin(self, written: Callable[[], Install | None]) -> bool:
        """Take on the install that `written` puts into the journal; False when there is none, or while busy:
        then it is not asked. Whoever asks second sees what the first one changed."""
        with self._beginning:
            if self.busy or self._workplace.stop.quitting or (install := written()) is None:
                return False
            self._busy.set()
            self._workplace.stop.renew()
            self._workplace.progress.bytes_done = 0
            self._thread = threading.Thread(target=self._work, args=(install,), name="install", daemon=True)
            self._thread.start()
            return True

    def cancel(self) -> None:
        """Ask the install to stop, if it has switched nothing yet."""
        self._workplace.stop.cancel()

    def join(self, timeout_s: float | None = None) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self, install: Install) -> None:
        # Archives, zstd and the manifest reader come with the first install: an idle agent stays small.
        from kernex.agent.install import runner, steps  # noqa: PLC0415

        with suppress(Interrupted):
            while True:
                try:
                    outcome = runner.run(install, steps.STEPS, self._journal, self._workplace)
                    break
                except KernexError as error:  # only out of the journal: without it no step may be taken
                    log.error("%s %s waits: %s", install.app, install.version, error)  # noqa: TRY400 - one line
                    self._workplace.stop.sleep(_JOURNAL_RETRY_S)
                    with suppress(KernexError):
                        install = self._journal.find(install.deployment_id) or install
            self._workplace.collect()
            self._ended(outcome)
            self._busy.clear()
            self._idle()
