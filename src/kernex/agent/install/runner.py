"""Drive one install to its end, or to the next power cut."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from kernex.agent.install.journal import Journal
from kernex.agent.install.step import STOPPED, Ended, Step, Workplace
from kernex.agent.interrupt import Interrupted
from kernex.domain.errors import KernexError
from kernex.domain.install import MAX_TRIES, STOPPABLE, Event, Install, Phase
from kernex.wire.limits import ERROR_CHARACTERS

log = logging.getLogger(__name__)


def run(install: Install, steps: Mapping[Phase, Step], journal: Journal, workplace: Workplace) -> Install:
    """Run step after step until the install is final. The intent is on disk before each step and its end
    after it, so whoever is started with what the journal says goes on where this one was cut off."""
    while not install.phase.final:
        if install.exhausted:
            given_up = Ended(Event.ERROR, f"cannot get through {install.phase}: tried {MAX_TRIES} times")
            install = journal.write(_after(install, given_up))
            continue
        install = journal.write(install.entered())
        try:
            ended = _attempt(steps[install.phase], install, workplace)
        except Interrupted:
            journal.write(replace(install, tries=install.tries - 1))  # the agent was stopped; that is no failure
            raise
        before, install = install, journal.write(_after(install, ended))
        _tell(before, install, ended)
    return install


def _attempt(step: Step, install: Install, workplace: Workplace) -> Ended:
    if workplace.stop.cancelled and install.phase in STOPPABLE:
        return STOPPED
    try:
        if install.phase is Phase.RESTORING:  # what the device has to come back to is worth the last reserve
            return workplace.ballast.spend_on(lambda: step(install, workplace))
        return step(install, workplace)
    except KernexError as error:
        return Ended(Event.ERROR, str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return Ended(Event.ERROR, f"cannot go on {install.phase}{where}: {error.strerror or error}")
    except Exception as error:
        log.exception("a step failed in a way that nobody foresaw")
        return Ended(Event.ERROR, f"cannot go on {install.phase}: {type(error).__name__}: {error}")


def _after(install: Install, ended: Ended) -> Install:
    """The first reason stays; what goes wrong while restoring is said behind it."""
    install = replace(install, metrics={**install.metrics, **ended.metrics})
    error = ended.error
    if error and install.error and ended.event is Event.ERROR:
        install = replace(install, error=f"{install.error}; then {error}")
    following = install.after(ended.event, error=error)
    return replace(following, error=following.error and _cut(following.error))


def _cut(text: str) -> str:
    half = ERROR_CHARACTERS // 2
    return text if len(text) <= ERROR_CHARACTERS else f"{text[: half - 2]} … {text[1 - half :]}"


def _tell(before: Install, install: Install, ended: Ended) -> None:
    log.log(
        logging.WARNING if ended.event is Event.ERROR else logging.INFO,
        "%s %s: %s -> %s%s",
        install.app,
        install.version,
        before.phase,
        install.phase,
        f": {ended.error}" if ended.error else "",
    )
