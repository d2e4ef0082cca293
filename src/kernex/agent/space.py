"""Room on the disk: asked for before it is used, reserved where the file system can, and some kept back."""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kernex import durable
from kernex.domain.errors import RejectedError

log = logging.getLogger(__name__)

T = TypeVar("T")

SPARE_INODES = 32  # left by every install, for links, footprints and logs
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of fallocate(2): blocks, and no bytes to be read
_PIECES = 8  # files of a ballast


def full(error: OSError) -> bool:
    """Whether it says that there is no room."""
    return error.errno in _FULL


@dataclass(frozen=True, slots=True)
class Need:
    """What is about to be written below `where`, which is there: `size` in bytes, `files` of all kinds."""

    where: Path
    size: int
    files: int


def preflight(what: str, needs: Sequence[Need], *, margin_bytes: int) -> None:
    """RejectedError unless there is room for all of it, by bytes and by inodes, with a margin left.

    What lies on one file system is added up. `what` is what cannot be done, like "download 3 bytes".
    """
    together: dict[int, list[Need]] = {}
    for need in needs:
        together.setdefault(need.where.stat().st_dev, []).append(need)
    for there in together.values():
        found = os.statvfs(there[0].where)
        files = sum(need.files for need in there)
        needed = sum(need.size for need in there) + files * found.f_frsize + margin_bytes  # a last block each
        free = found.f_bavail * found.f_frsize
        if free < needed:
            raise RejectedError(f"cannot {what}: {free} bytes are free, {needed} are needed; free space on the disk")
        if found.f_files and found.f_favail < files + SPARE_INODES:  # 0 in all: it counts none, like btrfs
            raise RejectedError(
                f"cannot {what}: {found.f_favail} inodes are free, {files + SPARE_INODES} are needed; "
                "remove files from the disk"
            )


def reserve(fd: int, size: int) -> None:
    """Give the file its blocks up to `size` now, and leave its length as it is: so what was written so far can
    still be told from what was not. OSError when there is no room; on a file system that cannot, nothing happens.

    `os.posix_fallocate` will not do: it changes the length, and where the file system cannot it writes.
    """
    import ctypes  # noqa: PLC0415 - a megabyte that an idle agent does not need

    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", None) or libc.fallocate  # musl has only the latter, of 64 bits
    if fallocate(fd, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)):
        code = ctypes.get_errno()
        if code in _FULL:
            raise OSError(code, os.strerror(code))
        log.debug("no reservation: %s", os.strerror(code))


@dataclass(frozen=True, slots=True)
class Ballast:
    """Files in a directory that hold bytes and inodes for the journal and for a restore. They are given up
    when the disk is full, and made again when there is `margin_bytes` more than they take."""

    path: Path
    size: int  # bytes, of all together
    margin_bytes: int

    def keep(self) -> None:
        """Have it, if there is room."""
        try:
            if self._sizes() == ([self.size // _PIECES] * _PIECES if self.size else []):
                return
            self._remove()
            found = os.statvfs(self.path.parent)
            bytes_left = found.f_bavail * found.f_frsize - self.size - self.margin_bytes
            inodes_left = found.f_favail - _PIECES - SPARE_INODES if found.f_files else 0
            if self.size and min(bytes_left, inodes_left) >= 0:
                self._make()
        except OSError as error:
            log.warning("cannot keep room for the journal: %s", error)

    def give_up(self) -> bool:
        """Whether there is more room now."""
        try:
            given_up = self._remove()
        except OSError:
            return False
        if given_up:
            log.warning("the disk is full: gave up %s", self.path)
        return given_up

    def spend_on(self, action: Callable[[], T]) -> T:
        """Do it; on a full disk give the ballast up and do it once more."""
        try:
            return action()
        except OSError as error:
            if not full(error) or not self.give_up():
                raise
        return action()

    def _sizes(self) -> list[int]:
        return [piece.stat().st_size for piece in self.path.iterdir()] if self.path.is_dir() else []

    def _remove(self) -> bool:
        pieces = list(self.path.iterdir()) if self.path.is_dir() else []
        for piece in pieces:
            piece.unlink()
        if pieces:
            durable.sync_directory(self.path)  # what is free is free only once that is on the disk
        return bool(pieces)

    def _make(self) -> None:
        """Of noise, so that no file system stores it in less."""
        durable.make_directory(self.path)
        for number in range(_PIECES):
            fd = os.open(self.path / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(os.urandom(self.size // _PIECES))
                file.flush()
                os.fsync(fd)
        durable.sync_directory(self.path)


NO_BALLAST = Ballast(Path(os.devnull) / "ballast", 0, 0)
