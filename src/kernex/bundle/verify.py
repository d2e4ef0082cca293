"""From bytes that somebody sent to a bundle that may be installed, and from a release on disk to a verdict."""

import hashlib
import os
import stat
from pathlib import Path

from kernex.bundle.archive import describe, unpack
from kernex.bundle.descriptor import (
    Descriptor,
    Entry,
    FileEntry,
    LinkEntry,
    difference,
    differences,
    normal_mode,
)
from kernex.bundle.limits import LIMITS, Limits
from kernex.domain.bundle import Digest
from kernex.domain.errors import NotFoundError, RejectedError
from kernex.domain.manifest import Manifest

_MADE_HERE = object()


class VerifiedBundle:
    """An archive that was compared, byte by byte, with a descriptor that was named by its digest.

    Only `open_verified` makes one: a function that takes a `VerifiedBundle` cannot be given unverified bytes.
    """

    def __init__(
        self, token: object, archive: Path, descriptor: Descriptor, manifest: Manifest, limits: Limits
    ) -> None:
        if token is not _MADE_HERE:
            raise TypeError("a VerifiedBundle is made by open_verified alone")
        self._archive, self._limits = archive, limits
        self.descriptor, self.manifest = descriptor, manifest

    def unpack(self, directory: Path) -> None:
        """Write the bundle into `directory`, which is there and empty; afterwards it is durable.

        Compared once more on the way, so that an archive that changed since it was verified is found:
        RejectedError, and what lies in the directory by then is to be thrown away.
        """
        unpack(self._archive, directory, self.descriptor, limits=self._limits)


def open_verified(
    archive: Path,
    descriptor: bytes,
    *,
    digest: Digest,
    archive_sha256: Digest,
    archive_bytes: int,
    limits: Limits = LIMITS,
) -> VerifiedBundle:
    """The bundle in `archive`, or RejectedError that names the first thing that is not as promised.

    Nothing parses the archive before its size and SHA-256 are right.
    """
    expected = Descriptor.parse(descriptor, digest, limits=limits)
    size, found = _measured(archive)
    if size != archive_bytes:
        raise RejectedError(f"cannot use the archive of {expected.ref}: it has {size} bytes, not {archive_bytes}")
    if found != archive_sha256:
        raise RejectedError(
            f"cannot use the archive of {expected.ref}: its SHA-256 is {found.short}…, not {archive_sha256.short}…"
        )
    described = describe(archive, limits=limits)
    reasons = differences(expected, described.descriptor)
    if reasons:
        raise RejectedError(f"cannot use the archive of {expected.ref}: {reasons[0]}")
    return VerifiedBundle(_MADE_HERE, archive, expected, described.manifest, limits)


def _measured(archive: Path) -> tuple[int, Digest]:
    try:
        with archive.open("rb") as file:
            return os.fstat(file.fileno()).st_size, Digest(hashlib.file_digest(file, "sha256").hexdigest())
    except FileNotFoundError:
        raise NotFoundError(f"cannot read {archive}: there is no such file") from None


def check_release(directory: Path, descriptor: Descriptor) -> list[str]:
    """What keeps an unpacked tree from being what `descriptor` names, in words; empty when it is whole.

    Directories count only by what is in them.
    """
    reasons: list[str | None] = []
    missing = descriptor.entries()
    if directory.is_dir():
        for parent, directories, names, fd in os.fwalk(directory):
            for name in sorted(directories + names):
                path = str(Path(parent, name).relative_to(directory))
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    reasons.append(_reason(path, missing.pop(path, None), status, fd))
    reasons += [_said(path, difference(entry, None)) for path, entry in missing.items()]
    return sorted(filter(None, reasons))


def _reason(path: str, expected: Entry | None, status: os.stat_result, fd: int) -> str | None:
    try:
        return _said(path, difference(expected, _found(path, status, fd)))
    except OSError as error:
        return _said(path, f"cannot be read: {error.strerror}")


def _found(path: str, status: os.stat_result, parent: int) -> Entry | None:
    name = Path(path).name
    if stat.S_ISLNK(status.st_mode):
        return LinkEntry(path, os.readlink(name, dir_fd=parent))
    if not stat.S_ISREG(status.st_mode):
        return None
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent), "rb") as file:  # noqa: PTH123
        digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
    return FileEntry(path, status.st_size, normal_mode(status.st_mode), digest)


def _said(path: str, reason: str | None) -> str | None:
    return reason and f"{path} {reason}"
