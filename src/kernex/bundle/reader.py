"""The members of an archive, one after the other: the one place where a bundle's rules are applied to it.

Everything passes here that describes, compares or unpacks, so what one of them accepts all accept.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kernex.bundle.descriptor import LinkEntry, Mode, normal_mode
from kernex.bundle.limits import Limits
from kernex.bundle.names import Kind, Tree
from kernex.bundle.streams import Stream, refused
from kernex.bundle.tar import Header, Headers, padding

_TOP = frozenset({".", "./", "/"})  # the directory that everything is in, as tools name it


@dataclass(frozen=True, slots=True)
class File:
    """A file and its content, which can be read once, before the next member is asked for."""

    path: str
    size: int
    mode: Mode
    pieces: Iterator[bytes]


def members(stream: Stream, limits: Limits) -> Iterator[File | LinkEntry]:
    """Files in the order of the archive; then, once all names are known, the links.

    Raises RejectedError at the first thing that a bundle must not hold. Directories are judged and left
    out: a bundle consists of files and links, empty directories are not carried.
    """
    headers, tree = Headers(stream, limits), Tree(limits)
    links: list[LinkEntry] = []
    installed = 0
    while (header := headers.next()) is not None:
        path = _relative(header)
        match header.kind:
            case Kind.DIRECTORY:
                if header.name not in _TOP:
                    tree.add_directory(path)
            case Kind.LINK:
                tree.add_link(path, header.target)
                links.append(LinkEntry(path, header.target))
            case Kind.FILE:
                tree.add_file(path)
                installed += header.size
                _check(header, installed, limits)
                pieces = stream.pieces(header.size)
                yield File(path, header.size, normal_mode(header.mode), pieces)
                for _ in pieces:
                    pass
                stream.exactly(padding(header.size))
    tree.settle()
    yield from links


def _relative(header: Header) -> str:
    """The member's path as descriptors spell it: without the ``./`` that ``tar -C DIR .`` writes."""
    path = header.name
    if header.kind is Kind.DIRECTORY:
        path = path.removesuffix("/")
    return path.removeprefix("./")


def _check(header: Header, installed: int, limits: Limits) -> None:
    if header.mode & 0o7000:
        raise refused(f"{header.name[:80]!r} has a setuid, setgid or sticky bit")
    if header.size > limits.file_bytes:
        raise refused(f"{header.name[:80]!r} is larger than {limits.file_bytes} bytes")
    if installed > limits.installed_bytes:
        raise refused(f"its files are larger than {limits.installed_bytes} bytes together")
