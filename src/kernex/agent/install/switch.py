"""Put the new release to work, or the previous one back. From here on there is only forward or back."""

import logging

from kernex.agent import health
from kernex.agent.install.step import DONE, Ended, Workplace
from kernex.agent.scripts import Release
from kernex.domain.errors import KernexError, RejectedError
from kernex.domain.install import Install

log = logging.getLogger(__name__)


def activate(install: Install, workplace: Workplace) -> Ended:
    """Stop the old workload, switch `current` in one step, run the deploy script, start the workload.

    Entered again: all of it is done again; scripts have to bear that, and the switch has no half.
    """
    app = workplace.app(install)
    release = workplace.release(app, install.digest, install.previous)
    workplace.driver.stop(app.name)
    app.stand_on(install.digest)
    _put_to_work(release, workplace)
    return DONE


def restore(install: Install, workplace: Workplace) -> Ended:
    """Undo the new release and put the previous one back to work; without one, leave nothing.

    Entered again: all of it is done again.
    """
    app = workplace.app(install)
    _undo(install, workplace)
    workplace.driver.stop(app.name)
    app.stand_on(install.previous)
    if app.previous == install.previous:  # it was committed once; what runs is not also what ran before
        app.remember(None)
    if install.previous is None:
        return DONE
    release = workplace.release(app, install.previous)
    _put_to_work(release, workplace)
    checked = health.check(release, workplace.scripts, workplace.driver, workplace.stop, once=True)
    if not checked.works:
        raise RejectedError(f"cannot restore {release.manifest.ref}: probe failed: {checked.reason}")
    return DONE


def _put_to_work(release: Release, workplace: Workplace) -> None:
    deploy = release.manifest.deploy
    if deploy is not None:
        workplace.scripts.must_run(
            "deploy script", deploy.script, release, timeout_s=deploy.timeout_s, stop=workplace.stop
        )
    workplace.driver.start(release)


def _undo(install: Install, workplace: Workplace) -> None:
    """Run the new release's rollback script. That it fails is no reason not to restore."""
    try:
        release = workplace.release(workplace.app(install), install.digest, install.previous)
        rollback = release.manifest.rollback
        if rollback is not None:
            workplace.scripts.must_run(
                "rollback script", rollback.script, release, timeout_s=rollback.timeout_s, stop=workplace.stop
            )
    except (KernexError, OSError) as error:
        log.warning("%s %s: %s", install.app, install.version, error)
