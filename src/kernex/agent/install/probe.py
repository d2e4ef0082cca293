"""Ask the new release whether it works."""

from kernex.agent import health
from kernex.agent.install.step import Ended, Workplace
from kernex.domain.install import Event, Install


def probe(install: Install, workplace: Workplace) -> Ended:
    """Run the probe until it passes, fails or its deadline is over; what it measured is kept either way.

    Entered again: the workload is started if the agent was, and the probe has its whole deadline again.
    """
    release = workplace.release(workplace.app(install), install.digest, install.previous)
    workplace.driver.start(release)
    checked = health.check(release, workplace.scripts, workplace.driver, workplace.stop)
    if checked.works:
        return Ended(metrics=checked.metrics)
    return Ended(Event.ERROR, f"probe failed: {checked.reason}", checked.metrics)
