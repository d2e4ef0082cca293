"""What a step is, and everything that it may touch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kernex import durable
from kernex.agent.apps import App, Apps, cleaning
from kernex.agent.drivers import Driver
from kernex.agent.interrupt import Stop
from kernex.agent.scripts import Release, Scripts
from kernex.agent.settings import Settings
from kernex.agent.space import NO_BALLAST, Ballast
from kernex.domain.bundle import Digest
from kernex.domain.install import Event, Install


class Archive(Protocol):
    """An archive on its way. `offset` is where its first byte belongs; `total_bytes` is the length of the
    whole, None when the control plane does not say."""

    offset: int
    total_bytes: int | None

    def read(self, size: int) -> bytes: ...


class Source(Protocol):
    """Where bundles come from: the control plane, as far as a step needs it."""

    def descriptor(self, bundle_id: str) -> bytes: ...

    def archive(self, bundle_id: str, sha256: Digest, *, offset: int) -> AbstractContextManager[Archive]: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended. A KernexError or OSError out of a step means Event.ERROR with its words."""

    event: Event = Event.DONE
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)


DONE, STOPPED = Ended(), Ended(Event.STOP)


@dataclass(slots=True)
class Progress:
    """How far a download is, for the heartbeat to tell."""

    bytes_done: int = 0


@dataclass(frozen=True, slots=True)
class Workplace:
    """The device as a step sees it."""

    apps: Apps
    downloads: Path
    source: Source
    driver: Driver
    scripts: Scripts
    settings: Settings
    stop: Stop
    facts: Callable[[], dict[str, Any]]
    ballast: Ballast = NO_BALLAST
    progress: Progress = field(default_factory=Progress)

    def app(self, install: Install) -> App:
        return self.apps[install.app]

    def archive(self, install: Install) -> Path:
        """The archive, whole and checked."""
        return self.downloads / install.archive_sha256

    def descriptor(self, install: Install) -> Path:
        return self.downloads / f"{install.digest}.json"

    def release(self, app: App, digest: Digest, previous: Digest | None = None) -> Release:
        """A release that is on the disk, or RejectedError."""
        return Release.read(app, digest, previous)

    def collect(self) -> None:
        """Remove what no release and no install needs; what cannot be removed now is left for the next time.
        Only when no install is unfinished."""
        self.apps.collect()
        with cleaning(self.downloads):
            for path in [*self.downloads.iterdir()]:
                with cleaning(path):
                    durable.remove(path)
        self.ballast.keep()


Step = Callable[[Install, Workplace], Ended]
