"""How a release's workload runs. One driver a way of running; the agent knows only this protocol."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from kernex.agent.scripts import Release


class Condition(StrEnum):
    """The words of `kernex.wire.device.AppReport`."""

    RUNNING = "running"  #: up, or nothing of it has to be
    STOPPED = "stopped"  #: ended, and its restart policy leaves it so
    FAILING = "failing"  #: ended, and waits to be started again


class Health(NamedTuple):
    """`restarts` counts since the driver was told to start it."""

    condition: Condition
    restarts: int


class Driver(Protocol):
    """Keeps workloads running, one per app. Every call may be repeated."""

    def start(self, release: Release) -> None:
        """Run this release's workload from now on; whatever else ran of the app is stopped first.
        It returns once the workload was started for the first time, or raises RejectedError."""

    def stop(self, app: str) -> None:
        """Stop the app's workload. Nothing of it is left when this returns."""

    def state(self, app: str) -> Health:
        """How it is now."""

    def close(self) -> None:
        """Stop everything, all at once."""
