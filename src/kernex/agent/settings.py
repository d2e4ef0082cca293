"""What an owner of a device may change: ``<state>/agent.toml``, every value with its unit. Defaults suit most."""

import os
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Permission


class Level(StrEnum):
    """How far what bundles bring is contained, the strongest first."""

    BUBBLEWRAP = "bubblewrap"  #: it sees what it needs and nothing else
    RESTRICTED = "restricted"  #: a user of its own (if the agent is root), bounds, and no way to more rights
    NONE = "none"  #: it can do what the agent can

    def reaches(self, floor: "Level") -> bool:
        order = list(Level)
        return order.index(self) <= order.index(floor)


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations end in ``_s`` (seconds), sizes in ``_bytes``."""

    # The network
    ca_file: str | None = None  # PEM; trusted beside the system's authorities
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 30.0  # silence after which an answer is given up
    download_patience_s: float = 3600.0  # how long a download that makes no progress is tried again
    heartbeat_floor_s: float = 1.0  # between two heartbeats when a long-poll comes back early
    heartbeat_busy_s: float = 5.0  # between two heartbeats while there is something to do and the server long-polls
    backoff_first_s: float = 1.0
    backoff_longest_s: float = 900.0

    # Bundles
    max_bundle_bytes: int = 16 << 30
    disk_margin_bytes: int = 64 << 20  # left free on the disk by every install
    ballast_bytes: int = 8 << 20  # given up on a full disk, so that the journal can still be written

    # Scripts and workloads
    path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))  # where programs are looked up
    pass_environment: tuple[str, ...] = ()  # names of the agent's variables that bundles get to see
    output_bytes: int = 64 << 10  # kept of what a script prints: half from its start, half from its end
    term_grace_s: float = 5.0  # from SIGTERM to SIGKILL for a script that is out of time
    settle_s: float = 3.0  # a workload without a probe must stay up for so long
    restart_first_s: float = 0.5
    restart_longest_s: float = 60.0
    probation_s: float = 600.0  # how long a new release is watched after its success; 0: not at all
    log_bytes: int = 4 << 20  # of a workload's log; one older log of that size is kept beside it

    # Containment
    sandbox: Level = Level.BUBBLEWRAP  # the strongest level to try; what this machine cannot do comes out weaker
    sandbox_floor: Level = Level.NONE  # below it nothing of a bundle is installed or run
    allow_permissions: tuple[Permission, ...] = (Permission.NETWORK, Permission.GPU)
    first_uid: int = 60_800  # apps run as users of their own from here on, if the agent is root
    max_processes: int = 1024  # of an app, threads included
    max_open_files: int = 4096  # of one process
    max_file_bytes: int = 4 << 30  # of one file that a bundle's process writes
    max_memory_bytes: int = 0  # address space of a process, and memory of a run where cgroups can tell; 0: no bound
    scratch_bytes: int = 64 << 20  # of /tmp in the sandbox, which lies in memory; TMPDIR is on the disk

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and value < 0:
                raise RejectedError(f"cannot use {name} = {value}: it must not be negative")


def load(path: Path) -> Settings:
    """The settings in `path`, or the defaults when there is no such file. A misspelt name is an error."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RejectedError(f"cannot read {path}: {error}") from None
    unknown = sorted(values.keys() - set(Settings.__slots__))
    if unknown:
        raise RejectedError(f"cannot use {path}: there is no setting {unknown[0]!r}")
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise RejectedError(f"cannot use {path}: {error}") from None
