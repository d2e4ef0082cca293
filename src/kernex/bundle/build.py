"""From a directory to an archive: the same files always give the same bytes."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from kernex import durable
from kernex.bundle import manifest as manifests
from kernex.bundle.archive import MANIFEST, Described, describe
from kernex.bundle.descriptor import normal_mode
from kernex.bundle.limits import LIMITS, Limits
from kernex.bundle.names import Tree, refused
from kernex.bundle.streams import Progress
from kernex.domain.errors import NotFoundError, RejectedError, UnavailableError

LEFT_OUT = frozenset({"__pycache__", ".git", ".DS_Store"})  # never part of what runs
LEVEL = 3  # of zstd; weights compress alike at any


@dataclass(slots=True)
class _Found:
    """What is in the directory."""

    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def build(directory: Path, output: Path, *, limits: Limits = LIMITS, progress: Progress | None = None) -> Described:
    """Pack `directory` as a tar.zst; `output` appears, whole and durable, only if every device would accept it.

    RejectedError names what a bundle must not hold. `progress` is told the bytes of the files as they are
    packed. Empty directories, owners, times and all permissions but "executable" are not carried.
    """
    if not directory.is_dir():
        raise NotFoundError(f"cannot build {directory}: there is no such directory")
    temporary = output.with_name(f".{output.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        found = _survey(directory, limits, output)
        _pack(directory, found, temporary, progress)
        described = describe(temporary, limits=limits)
        durable.rename(temporary, output)
    except OSError as error:
        raise UnavailableError(f"cannot build {output}: {error.filename or directory}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return replace(described, ignored=tuple(found.ignored))


def _survey(directory: Path, limits: Limits, output: Path) -> _Found:
    """Every file and link below `directory`, judged by the rules of the archive before anything is packed."""
    found, tree = _Found(), Tree(limits)
    top, own = directory.resolve(), output.parent.resolve() / output.name
    for path, entry in _walk(directory, ""):
        if entry.name in LEFT_OUT or top / path == own:
            found.ignored.append(path)
        elif entry.is_symlink():
            tree.add_link(path, os.readlink(entry.path))  # noqa: PTH115 - the text, which Path would tidy
            found.links.append(path)
        elif entry.is_file(follow_symlinks=False):
            tree.add_file(path)
            found.files.append(path)
        elif not entry.is_dir(follow_symlinks=False):
            raise refused(path, "it is a socket, a fifo or a device")
    tree.settle()
    if MANIFEST not in found.files:
        raise RejectedError(f"cannot build {directory}: it has no {MANIFEST} at its top")
    with (directory / MANIFEST).open("rb") as manifest:
        manifests.read(manifest.read(limits.manifest_bytes + 1), limits=limits)
    return found


def _walk(directory: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            path = prefix + entry.name
            yield path, entry
            if entry.is_dir(follow_symlinks=False) and entry.name not in LEFT_OUT:
                yield from _walk(Path(entry.path), f"{path}/")


def _pack(directory: Path, found: _Found, output: Path, progress: Progress | None) -> None:
    ordered = sorted(found.files, key=lambda path: (path != MANIFEST, path))  # readers meet the manifest at once
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with output.open("xb") as file:
        with (
            compressor.stream_writer(file, closefd=False) as compressed,
            tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in ordered:
                with open(os.open(directory / path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as content:  # noqa: PTH123
                    tar.addfile(_header(path, content), cast("BinaryIO", _Content(path, content, progress)))
            for path in sorted(found.links):
                link = tarfile.TarInfo(path)
                link.type, link.mode = tarfile.SYMTYPE, 0o777
                link.linkname = os.readlink(directory / path)  # noqa: PTH115 - as above
                tar.addfile(link)
        file.flush()
        os.fsync(file.fileno())


def _header(path: str, content: BinaryIO) -> tarfile.TarInfo:
    status = os.fstat(content.fileno())
    header = tarfile.TarInfo(path)
    header.size = status.st_size
    header.mode = normal_mode(status.st_mode)
    return header


class _Content:
    """A file that tells of its progress, and of its end if that comes too early."""

    def __init__(self, path: str, file: BinaryIO, progress: Progress | None) -> None:
        self._path, self._file, self._progress = path, file, progress

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        if len(piece) < size:
            raise RejectedError(f"cannot pack {self._path[:80]!r}: it became shorter meanwhile; build again")
        if self._progress is not None:
            self._progress(len(piece))
        return piece
