"""File systems whose power may be cut: ext4 and XFS on loop devices, made here and gone afterwards.

A shut down file system stays dead until it is mounted anew, so nothing but a mount that this file made is ever
shut down: `guarded` hands out the only descriptor that the shim gets, and the shim looks once more.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZES = {"ext4": 48 << 20, "xfs": 320 << 20}  # bytes; mkfs.xfs makes nothing smaller than 300 MiB
_MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
_LOOP_MAJOR = 7
_PATIENCE_S = 20.0
_MEMORY_NEEDED = 2 << 30  # bytes; else the images lie on the disk
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
            one.image.unlink(missing_ok=True)

    @property
    def device(self) -> int:
        return self.directory.stat().st_dev

    def mount(self) -> None:
        _command("mount", "-o", "loop,noatime", str(self.image), str(self.directory))

    def again(self) -> None:
        """What a power cycle does to it: everything that was not on the disk is lost, the log is replayed.

        A sandbox that starts elsewhere on this machine copies every mount for a moment, and then `umount` leaves
        the dead file system alive there, and `mount` finds it again.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            _command("umount", str(self.directory))
            self.mount()
            if self._works():
                return
            if time.monotonic() > deadline:
                raise NotAllowedError(f"cannot mount {self.image} anew: another mount namespace holds it")
            time.sleep(0.01)

    def _works(self) -> bool:
        witness = self.directory / ".works"
        try:
            witness.touch()
            witness.unlink()
        except OSError:
            return False
        return True

    def sync(self) -> None:
        """Everything in it is on the disk."""
        _command("sync", "--file-system", str(self.directory))


def quick_place() -> str | None:
    """A directory in memory, where there is enough, else None: an agent syncs a lot, and here it matters what is
    lost, not how long it takes."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        return None
    status = os.statvfs(memory)
    usable = not status.f_flag & os.ST_NOEXEC and status.f_bavail * status.f_frsize >= _MEMORY_NEEDED
    return str(memory) if usable else None


def guarded(mount: Path, device: int) -> int:
    """A descriptor of a loop mount whose power may be cut, or PermissionError: it has to be a loop device, the
    one that was named, and neither that of the system, of the work tree, nor of any temporary directory."""
    fd = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = os.fstat(fd).st_dev
    places = map(Path, ("/", "/tmp", "/var/tmp", "/dev/shm", "/home", tempfile.gettempdir()))
    precious = [place for place in (*places, _HERE, Path.cwd(), mount.parent) if place.exists()]
    forbidden = {place.stat().st_dev for place in precious}
    if found != device or found in forbidden or os.major(found) != _LOOP_MAJOR or not mount.is_mount():
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
