"""The apps that the device stands on: started with the agent, told with every heartbeat."""

import logging

from kernex.agent.apps import App, Apps
from kernex.agent.drivers import Condition, Driver, Health
from kernex.agent.scripts import Release
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

    def __init__(self, apps: Apps, driver: Driver) -> None:
        self._apps, self._driver = apps, driver
        self._versions: dict[Digest, str] = {}
        self._not_startable: dict[str, Digest] = {}

    def start(self, unfinished: Install | None) -> None:
        """Start what ran before the agent was started, except for the app that an install is switching."""
        for app in self._apps.installed():
            if unfinished and unfinished.app == app.name and unfinished.phase in _SWITCHING:
                continue
            digest = app.current
            assert digest is not None  # noqa: S101 - `installed` says so, and nobody else writes yet
            try:
                self._driver.start(Release.read(app, digest, app.previous))
            except (KernexError, OSError) as error:
                log.error("%s: %s", app.name, error)  # noqa: TRY400 - one line an event
                self._not_startable[app.name] = digest

    def reports(self) -> list[AppReport]:
        found = [(app, digest) for app in self._apps if (digest := app.current)]
        return [self._report(app, digest) for app, digest in found[:_MOST]]

    def _report(self, app: App, digest: Digest) -> AppReport:
        health = self._driver.state(app.name)
        if self._not_startable.get(app.name) == digest:
            health = Health(Condition.FAILING, health.restarts)
        return AppReport(app.name, self._version(app, digest), str(digest), health.condition, health.restarts)

    def _version(self, app: App, digest: Digest) -> str:
        """Read once: what lies under a digest does not change."""
        if digest not in self._versions:
            try:
                self._versions[digest] = Release.read(app, digest).manifest.version
            except KernexError:
                return ""
        return self._versions[digest]
