"""Make the new release the one to come back to."""

from kernex.agent.install.step import DONE, Ended, Workplace
from kernex.domain.install import Install


def commit(install: Install, workplace: Workplace) -> Ended:
    """Remember the release before this one as `previous`. Whatever neither link stands on is removed
    once the journal says that the install is over (`kernex.agent.install.worker`).

    Entered again: the same link is set again. A release that was deployed over itself keeps the older one.
    """
    if install.previous != install.digest:
        workplace.app(install).remember(install.previous)
    return DONE
