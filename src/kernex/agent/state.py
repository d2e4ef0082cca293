"""The state directory: everything that the agent remembers. One agent owns it at a time."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kernex import durable
from kernex.domain.errors import ConflictError, DeniedError


def default_root() -> Path:
    """``/var/lib/kernex`` for root, ``~/.kernex`` for everybody else."""
    return Path("/var/lib/kernex") if os.geteuid() == 0 else Path.home() / ".kernex"


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where each thing lies below `root`. Only its owner may look inside, for the device's key is there; others
    may pass through to their own (`kernex.agent.users`)."""

    root: Path

    @property
    def key(self) -> Path:
        return self.root / "identity.key"

    @property
    def enrolment(self) -> Path:
        return self.root / "enrolment.json"

    @property
    def settings(self) -> Path:
        return self.root / "agent.toml"

    @property
    def journal(self) -> Path:
        return self.root / "state.db"

    @property
    def ballast(self) -> Path:
        """Room for a full disk."""
        return self.root / "ballast"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def apps(self) -> Path:
        return self.root / "apps"

    @property
    def mark(self) -> str:
        """What every process started on behalf of this directory carries in its environment."""
        return sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]

    def prepare(self) -> None:
        """Create what is missing; refuse a directory that others may read."""
        durable.make_directory(self.root)
        if stat.S_IMODE(self.root.stat().st_mode) & 0o066:
            raise DeniedError(f"cannot use {self.root}: others may read it; run chmod 700 {self.root}")
        durable.make_directory(self.downloads)
        durable.make_directory(self.apps)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for this process, or ConflictError. The kernel lets go when the process ends,
        however it ends; children do not inherit it."""
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(f"cannot use {self.root}: another agent runs there; stop it first") from None
            yield
        finally:
            os.close(fd)

    def locked(self) -> bool:
        """Whether an agent runs there now."""
        try:
            with self.lock():
                return False
        except ConflictError:
            return True
