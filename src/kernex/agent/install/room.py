"""What an install needs of the disk, as its descriptor says."""

from pathlib import PurePosixPath

from kernex.agent import space
from kernex.agent.install.step import Workplace
from kernex.agent.space import Need
from kernex.bundle.descriptor import Descriptor
from kernex.domain.install import Install


def preflight(install: Install, descriptor: Descriptor, workplace: Workplace, *, archive_bytes: int = 0) -> None:
    """RejectedError unless the disk takes `archive_bytes` more of the archive, and the release beside what runs."""
    needs = [Need(workplace.downloads, archive_bytes, 1 if archive_bytes else 0)]
    if not workplace.app(install).release(install.digest).is_dir():
        needs.append(Need(workplace.apps.root, descriptor.installed_bytes, inodes(descriptor)))
    what = f"install {descriptor.ref} of {descriptor.installed_bytes} bytes"
    space.preflight(what, needs, margin_bytes=workplace.settings.disk_margin_bytes)


def inodes(descriptor: Descriptor) -> int:
    """Of the release on disk: its files, links and directories, its own included."""
    names = [PurePosixPath(path) for path in descriptor.entries()]
    return len(names) + len({parent for name in names for parent in name.parents})
