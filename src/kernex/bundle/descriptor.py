"""The descriptor: every file of a bundle by SHA-256, as canonical JSON. Its own SHA-256 names the release.

Canonical: keys and entries sorted, no spaces, UTF-8. One tree has one descriptor, whoever packed it and
however it was compressed.
"""

import hashlib
import stat
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from kernex.bundle.limits import LIMITS, Limits
from kernex.bundle.names import Tree
from kernex.domain.bundle import BundleRef, Digest
from kernex.domain.errors import RejectedError

Mode = Literal[0o644, 0o755]


def normal_mode(mode: int) -> Mode:
    """What a bundle keeps of permissions: whether the owner may execute the file."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: `size` in bytes, `mode` 0644 or 0755."""

    path: str
    size: int
    mode: Mode
    sha256: Digest


class LinkEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One symlink to somewhere inside the bundle."""

    path: str
    target: str


Entry = FileEntry | LinkEntry


class Descriptor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a release consists of. Making one sorts the entries and checks every name, or raises RejectedError."""

    name: str
    version: str
    files: tuple[FileEntry, ...]
    links: tuple[LinkEntry, ...] = ()
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        BundleRef(self.name, self.version)
        tree = Tree()
        for file in self.files:
            tree.add_file(file.path)
            if file.size < 0:
                raise RejectedError(f"cannot use the descriptor: {file.path!r} has a negative size")
        for link in self.links:
            tree.add_link(link.path, link.target)
        tree.settle()
        msgspec.structs.force_setattr(self, "files", tuple(sorted(self.files, key=_path)))
        msgspec.structs.force_setattr(self, "links", tuple(sorted(self.links, key=_path)))

    @classmethod
    def parse(cls, data: bytes, digest: Digest, *, limits: Limits = LIMITS) -> "Descriptor":
        """The descriptor whose SHA-256 is `digest`, or RejectedError."""
        if len(data) > limits.descriptor_bytes:
            raise RejectedError(f"cannot read the descriptor: it is larger than {limits.descriptor_bytes} bytes")
        if hashlib.sha256(data).hexdigest() != digest:
            raise RejectedError(f"cannot use the descriptor: its SHA-256 is not {digest.short}…")
        try:
            descriptor = msgspec.json.decode(data, type=cls, dec_hook=_digest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RejectedError(f"cannot read the descriptor: {error}") from None
        if descriptor.encode() != data:
            raise RejectedError("cannot use the descriptor: it is not in canonical form")
        return descriptor

    def encode(self) -> bytes:
        return msgspec.json.encode(self, enc_hook=str, order="sorted")

    @property
    def digest(self) -> Digest:
        return Digest(hashlib.sha256(self.encode()).hexdigest())

    @property
    def ref(self) -> BundleRef:
        return BundleRef(self.name, self.version)

    @property
    def installed_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def entries(self) -> dict[str, Entry]:
        """All files and links by path."""
        entries: tuple[Entry, ...] = (*self.files, *self.links)
        return {entry.path: entry for entry in entries}

    def has_file(self, path: str) -> bool:
        """Whether `path` is a file of the bundle, also by way of a link."""
        for link in self.links:
            if path == link.path or path.startswith(f"{link.path}/"):
                path = _joined(link, path)
                break  # a link never leads through another
        return any(file.path == path for file in self.files)


def differences(expected: Descriptor, found: Descriptor) -> list[str]:
    """What keeps `found` from being `expected`, in words; empty when nothing does."""
    result = []
    if found.ref != expected.ref:
        result.append(f"it is {found.ref} instead of {expected.ref}")
    wanted, there = expected.entries(), found.entries()
    for path in sorted(wanted.keys() | there.keys()):
        reason = difference(wanted.get(path), there.get(path))
        if reason:
            result.append(f"{path} {reason}")
    return result


def difference(expected: Entry | None, found: Entry | None) -> str | None:
    """What is wrong with one entry, as the end of a sentence; None when nothing is."""
    match expected, found:
        case None, None:
            return None
        case _, None:
            return "is missing"
        case None, _:
            return "is not named by the descriptor"
        case LinkEntry(), LinkEntry():
            same = expected.target == found.target
            return None if same else f"links to {found.target} instead of {expected.target}"
        case FileEntry(), FileEntry():
            return _file_difference(expected, found)
        case FileEntry(), LinkEntry():
            return "is a link instead of a file"
        case _:
            return "is a file instead of a link"


def _file_difference(expected: FileEntry, found: FileEntry) -> str | None:
    if found.sha256 != expected.sha256:
        return f"has other content: expected {expected.sha256.short}…, found {found.sha256.short}…"
    if found.size != expected.size:
        return f"has {found.size} bytes instead of {expected.size}"
    if found.mode != expected.mode:
        return f"has mode {found.mode:04o} instead of {expected.mode:04o}"
    return None


def _path(entry: Entry) -> str:
    return entry.path


def _joined(link: LinkEntry, path: str) -> str:
    """`path`, which begins with `link`, with the link followed."""
    where = list(PurePosixPath(link.path).parent.parts)
    for part in (link.target + path.removeprefix(link.path)).split("/"):
        if part == "..":
            where.pop()
        else:
            where.append(part)
    return "/".join(where)


def _digest(_type: type, value: str) -> Digest:
    return Digest(value)
