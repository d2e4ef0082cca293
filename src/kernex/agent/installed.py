"""The apps that the device stands on: started with the agent, told with every heartbeat."""

import logging
from functools import partial

from kernex.agent.apps import App, Apps
from kernex.agent.drivers import Condition, Driver, Health
from kernex.agent.scripts import Release
from kernex.agent.space import NO_BALLAST, Ballast
from kernex.domain.bundle import Digest
from kernex.domain.errors import KernexError
from kernex.domain.install import Install, Phase
from kernex.wire.device import AppReport

log = logging.getLogger(__name__)

_MOST = 256  # apps in one heartbeat
#: Phases that stop and start the workload themselves, from wherever they were cut off.
_SWITCHING = frozenset({Phase.ACTIVATING, Phase.RESTORING})


class Installed:
    """`current` of every app, and whether it runs."""

    def __init__(self, apps: Apps, driver: Driver, ballast: Ballast = NO_BALLAST) -> None:
        self._apps, self._driver, self._ballast = apps, driver, ballast
        self._versions: dict[Digest, str] = {}
        self._not_startable: dict[str, Digest] = {}

    def start(self, unfinished: Install | None, condemned: frozenset[str] = frozenset()) -> None:
        """Start what ran before the agent was started, except for the app that an install is switching and
        for those that are about to be put back."""
        for app, digest in self._apps.installed():
            if unfinished and unfinished.app == app.name and unfinished.phase in _SWITCHING:
                continue
            if app.name in condemned:
                continue
            try:
                release = Release.read(app, digest, app.previous)
                self._ballast.spend_on(partial(self._driver.start, release))
            except (KernexError, OSError) as error:
                log.error("%s: %s", app.name, error)  # noqa: TRY400 - one line an event
                self._not_startable[app.name] = digest

    def reports(self) -> list[AppReport]:
        return [self._report(app, digest) for app, digest in self._apps.installed()[:_MOST]]

    def health(self, name: str) -> Health:
        """How the app's workload is; failing, when it could not even be started."""
        health = self._driver.state(name)
        if name in self._not_startable and self._not_startable[name] == self._apps[name].current:
            return health._replace(condition=Condition.FAILING)
        return health

    def _report(self, app: App, digest: Digest) -> AppReport:
        health = self.health(app.name)
        return AppReport(app.name, self._version(app, digest), str(digest), health.condition, health.restarts)

    def _version(self, app: App, digest: Digest) -> str:
        """Read once: what lies under a digest does not change."""
        if digest not in self._versions:
            try:
                self._versions[digest] = Release.read(app, digest).manifest.version
            except KernexError:
                return ""
        return self._versions[digest]
