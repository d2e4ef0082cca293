"""File systems whose power may be cut: ext4 and XFS on loop devices, made here and gone afterwards.

A shut down file system stays dead until it is mounted anew, so nothing but a mount that this file made is ever
shut down: `guarded` hands out the only descriptor that the shim gets, and the shim looks once more.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZES = {"ext4": 48 << 20, "xfs": 320 << 20}  # bytes; mkfs.xfs makes nothing smaller than 300 MiB
_MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
_LOOP_MAJOR = 7
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"
_HERE = Path(__file__).resolve()


class NotAllowedError(Exception):
    """File systems cannot be made and mounted here; says why."""


@dataclass(frozen=True, slots=True)
class LoopMount:
    """A file system of its own in `directory`."""

    kind: str
    image: Path
    directory: Path

    @classmethod
    @contextmanager
    def made(cls, kind: str, work: Path) -> Iterator["LoopMount"]:
        """In `work`, or NotAllowedError. Unmounted and removed afterwards, whatever happened to it."""
        one = cls(kind, work / f"{kind}.img", work / kind)
        one.directory.mkdir()
        try:
            with one.image.open("wb") as file:
                file.truncate(SIZES[kind])
            _command(*_MAKE[kind], str(one.image))
            one.mount()
            yield one
        finally:
            clear(work)
            one.directory.rmdir()
            one.image.unlink()

    @property
    def device(self) -> int:
        return self.directory.stat().st_dev

    def mount(self) -> None:
        _command("mount", "-o", "loop,noatime", str(self.image), str(self.directory))

    def again(self) -> None:
        """What a power cycle does to it: everything that was not on the disk is lost, the log is replayed."""
        _command("umount", str(self.directory))
        self.mount()

    def sync(self) -> None:
        """Everything in it is on the disk."""
        fd = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(fd)
            _command("sync", "--file-system", str(self.directory))
        finally:
            os.close(fd)


def guarded(mount: Path, device: int) -> int:
    """A descriptor of a loop mount whose power may be cut, or PermissionError: it has to be a loop device, the
    one that was named, and neither that of the system, of the work tree, nor of any temporary directory."""
    fd = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = os.fstat(fd).st_dev
    precious = ["/", "/tmp", "/var/tmp", "/dev/shm", "/home", tempfile.gettempdir(), _HERE, Path.cwd()]
    forbidden = {os.stat(path).st_dev for path in [*precious, mount.parent] if os.path.exists(path)}
    if found != device or found in forbidden or os.major(found) != _LOOP_MAJOR or not os.path.ismount(mount):
        os.close(fd)
        raise PermissionError(f"cannot cut the power of {mount}: it is no loop mount of this suite")
    return fd


def clear(work: Path) -> None:
    """Unmount whatever is mounted below `work`."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        target = line.split()[4].encode().decode("unicode_escape")
        if Path(target).is_relative_to(work):
            subprocess.run(["umount", "--lazy", target], check=False)


def why_not(work: Path) -> str:
    """Why no file system can be made and mounted here; empty when it can."""
    try:
        for kind in SIZES:
            with LoopMount.made(kind, work):
                pass
    except NotAllowedError as error:
        return str(error)
    return ""


def _command(*argv: str) -> None:
    program = shutil.which(argv[0], path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
    if program is None:
        raise NotAllowedError(f"cannot find {argv[0]}: run scripts/system-packages")
    ended = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotAllowedError(f"cannot {argv[0]}: {(ended.stderr or ended.stdout).strip()}")
