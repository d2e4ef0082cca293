"""What an archive holds (`describe`), and the same on disk (`unpack`)."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kernex import durable
from kernex.bundle import manifest as manifests
from kernex.bundle.descriptor import Descriptor, Entry, FileEntry, LinkEntry, difference
from kernex.bundle.limits import LIMITS, Limits
from kernex.bundle.reader import File, members
from kernex.bundle.streams import Progress, opened, refused
from kernex.bundle.target import Target
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Manifest

MANIFEST = "manifest.json"
_UNKNOWN = Digest("0" * 64)


@dataclass(frozen=True, slots=True)
class Described:
    """An archive that keeps all rules, and what is in it."""

    descriptor: Descriptor
    manifest: Manifest
    manifest_json: bytes  # as it is in the archive
    archive_sha256: Digest
    archive_bytes: int
    ignored: tuple[str, ...] = ()  # what `build` left out of the directory

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest


def describe(path: Path, *, limits: Limits = LIMITS, progress: Progress | None = None) -> Described:
    """Read an archive once and write nothing. RejectedError tells what keeps it from being a bundle.

    `progress` is told the bytes of the archive as they are read.
    """
    files: list[FileEntry] = []
    links: list[LinkEntry] = []
    manifest_json: bytes | None = None
    with opened(path, limits, progress) as stream:
        for member in members(stream, limits):
            match member:
                case LinkEntry():
                    links.append(member)
                case File() if member.path == MANIFEST:
                    manifest_json = _small(member, limits)
                    files.append(_entry(member, [manifest_json]))
                case File():
                    files.append(_entry(member, member.pieces))
        archive = stream.source
        if manifest_json is None:
            raise refused(_no_manifest(files))
        manifest = manifests.read(manifest_json, limits=limits)
        descriptor = Descriptor(manifest.name, manifest.version, tuple(files), tuple(links))
        if len(descriptor.encode()) > limits.descriptor_bytes:
            raise refused(f"its descriptor is larger than {limits.descriptor_bytes} bytes: pack fewer files")
        check_commands(manifest, descriptor)
        return Described(descriptor, manifest, manifest_json, archive.sha256, archive.bytes)


def unpack(path: Path, directory: Path, descriptor: Descriptor, *, limits: Limits = LIMITS) -> None:
    """Write what `descriptor` names into `directory`, which is there and empty; afterwards it is durable.

    Every entry is compared on its way. RejectedError if the archive holds anything else: the directory is
    then to be thrown away. UnavailableError if the disk is full or fails.
    """
    missing = descriptor.entries()
    with opened(path, limits) as stream, Target(directory) as target:
        for member in members(stream, limits):
            expected = missing.pop(member.path, None)
            if isinstance(member, LinkEntry):
                _same(member.path, expected, member)
                target.link(member.path, member.target)
                continue
            presumed = expected.sha256 if isinstance(expected, FileEntry) else _UNKNOWN
            _same(member.path, expected, FileEntry(member.path, member.size, member.mode, presumed))
            with target.create(member.path, member.mode) as write:
                _same(member.path, expected, _entry(member, member.pieces, write))
    for absent, expected in missing.items():
        _same(absent, expected, None)
    durable.sync_tree(directory)


def check_commands(manifest: Manifest, descriptor: Descriptor) -> None:
    """Raise RejectedError if the manifest runs a file that the bundle does not have."""
    named = manifest.scripts
    word = manifest.run.command[0] if manifest.run else ""
    if "/" in word and not word.startswith("/"):
        named.append(str(PurePosixPath(word)))
    for path in named:
        if not descriptor.has_file(path):
            raise refused(f"its manifest runs {path[:80]!r}, which is no file of it")


def _small(member: File, limits: Limits) -> bytes:
    if member.size > limits.manifest_bytes:
        raise refused(f"its manifest.json is larger than {limits.manifest_bytes} bytes")
    return b"".join(member.pieces)


def _entry(member: File, pieces: Iterable[bytes], write: Callable[[bytes], object] | None = None) -> FileEntry:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        if write is not None:
            write(piece)
    return FileEntry(member.path, member.size, member.mode, Digest(digest.hexdigest()))


def _same(path: str, expected: Entry | None, found: Entry | None) -> None:
    reason = difference(expected, found)
    if reason:
        raise RejectedError(f"cannot unpack the bundle: {path} {reason}")


def _no_manifest(files: list[FileEntry]) -> str:
    deeper = [file.path for file in files if file.path.endswith(f"/{MANIFEST}")]
    where = f" (there is {deeper[0][:80]!r}: pack what is in the directory, not the directory)" if deeper else ""
    return f"it has no manifest.json at its top{where}"
