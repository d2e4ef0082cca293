"""A control group (version 2) for each run, where the agent may make one: bounds, and an end to all of it.

None of this is needed for anything to work; where it is not to be had, nothing is done.
"""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = "kernex."
_LOOKS, _LOOK_S = 100, 0.002
_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def own() -> Path | None:
    """The group that this process is in, if it may make groups below; bounds are turned on as far as possible."""
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return None
    below = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    mount = next((path for path in _MOUNTS if (path / "cgroup.controllers").exists()), None)
    if below is None or mount is None or not os.access(mount / below / "cgroup.procs", os.W_OK):
        return None
    with suppress(OSError):  # without a delegation, or with other processes in the group
        (mount / below / "cgroup.subtree_control").write_text("+pids +memory")
    return mount / below


def bounds(parent: Path) -> bool:
    """Whether the groups made in `parent` have bounds."""
    try:
        return "pids" in (parent / "cgroup.subtree_control").read_text("ascii").split()
    except OSError:
        return False


def make(parent: Path, mark: str, *, processes: int, memory_bytes: int) -> Path | None:
    """A group for the run `mark`; 0 is no bound. None when it cannot be made."""
    group = parent / f"{_PREFIX}{mark}"
    try:
        group.mkdir()
    except OSError as error:
        log.debug("cannot make %s: %s", group, error)
        return None
    for name, bound in (("pids.max", processes), ("memory.max", memory_bytes)):
        if bound and (group / name).exists():
            (group / name).write_text(str(bound))
    return group


def kill(group: Path) -> None:
    """End everything in it (Linux 5.14)."""
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def remove(group: Path) -> None:
    """Let go of a group in which nothing is left; what was just killed may take a moment to be gone."""
    for _ in range(_LOOKS):
        with suppress(OSError):
            group.rmdir()
        if not group.exists():
            return
        time.sleep(_LOOK_S)
    log.debug("cannot remove %s yet", group)


def sweep(parent: Path, mark: str) -> None:
    """End and let go of the groups of every run whose mark begins so."""
    for group in parent.glob(f"{_PREFIX}{mark}*"):
        kill(group)
        remove(group)
