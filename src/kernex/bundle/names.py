"""Which names a bundle may give to its files: the same rules for archives, descriptors and directories.

A path that passes is relative, stays inside, means the same on every file system and can be shown on a
terminal. A link that passes points inside, and no path leads through it.
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum

from kernex.bundle.limits import LIMITS, Limits
from kernex.domain.errors import RejectedError

#: Backslash, control characters, and what breaks or turns around the line that it is shown in.
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Kind(StrEnum):
    """What a name stands for."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


class Tree:
    """The names seen so far. Each method claims one or raises RejectedError."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._seen: dict[str, tuple[str, Kind]] = {}  # folded: as spelled, what it is
        self._directories: set[str] = set()  # as spelled: what is named again costs nothing
        self._links: dict[str, str] = {}
        self._bytes = 0

    def add_file(self, path: str) -> None:
        self._claim_with_parents(path, Kind.FILE)

    def add_directory(self, path: str) -> None:
        """Claim a directory; again is fine."""
        if path not in self._directories:
            self._claim_with_parents(path, Kind.DIRECTORY)

    def add_link(self, path: str, target: str) -> None:
        """Claim a link. Where it leads is known only when all names are: see `settle`."""
        fault = _fault(target, self._limits, also=("..",))
        if fault:
            raise refused(path, f"it links to {target[:80]!r}: {fault}")
        self._claim_with_parents(path, Kind.LINK)
        self._count(target)
        self._links[path] = target

    def settle(self) -> None:
        """Judge the links, after the last name. They may point to nothing, but not outside."""
        links = {_folded(path) for path in self._links}
        for path, target in self._links.items():
            _judge(path, target, links)

    def _claim_with_parents(self, path: str, kind: Kind) -> None:
        fault = _fault(path, self._limits)
        if fault:
            raise refused(path, fault)
        folded = _folded(path)
        if path.rpartition("/")[0] not in self._directories:
            for directory, alike in zip(_above(path), _above(folded), strict=True):
                self._claim(directory, alike, Kind.DIRECTORY)
        self._claim(path, folded, kind)

    def _claim(self, path: str, folded: str, kind: Kind) -> None:
        if folded not in self._seen:
            self._count(path)
            self._seen[folded] = (path, kind)
            if kind is Kind.DIRECTORY:
                self._directories.add(path)
            return
        spelled, found = self._seen[folded]
        if spelled != path:
            raise refused(path, f"it differs from {spelled[:80]!r} only in case or Unicode form")
        if (kind, found) != (Kind.DIRECTORY, Kind.DIRECTORY):
            raise refused(path, f"it is there already, as a {found}")

    def _count(self, text: str) -> None:
        self._bytes += len(text.encode())
        if self._bytes > self._limits.names_bytes:
            raise RejectedError(f"cannot use the bundle: its names take more than {self._limits.names_bytes} bytes")
        if len(self._seen) >= self._limits.members:
            raise RejectedError(f"cannot use the bundle: it has more than {self._limits.members} names")


def _judge(path: str, target: str, links: set[str]) -> None:
    """Follow one link from the directory that it lies in; `links` and the way are folded."""
    folded = _folded(path)
    where = folded.rpartition("/")[0]
    for part in _folded(target).split("/"):
        if part != "..":
            where = f"{where}/{part}" if where else part
        elif where:
            where = where.rpartition("/")[0]
        else:
            raise refused(path, f"it links to {target[:80]!r}, outside of the bundle")
        if where in links:
            raise refused(path, f"it links to {target[:80]!r}, through another link: name the file itself")
    if not where or folded.startswith(f"{where}/"):
        raise refused(path, f"it links to {target[:80]!r}, a directory that holds it")


def refused(path: str, reason: str) -> RejectedError:
    return RejectedError(f"cannot use the name {path[:80]!r} in a bundle: {reason}")


def _fault(path: str, limits: Limits, *, also: tuple[str, ...] = ()) -> str | None:
    """Why `path` is not good by itself, or None. `also` names parts that are good here though not elsewhere."""
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it is absolute, not relative"
    if _UNSAFE.search(path):
        return "it holds a backslash or a control character"
    if _SURROGATE.search(path):
        return "it is not Unicode text"
    encoded, parts = path.encode(), path.split("/")
    if len(encoded) > limits.path_bytes or len(parts) > limits.path_depth:
        return f"it is longer than {limits.path_bytes} bytes or {limits.path_depth} directories"
    for part in ("..", ".", ""):
        if part in parts and part not in also:
            return f"it holds {part!r} between slashes"
    if max(map(len, encoded.split(b"/"))) > limits.component_bytes:
        return f"a part of it is longer than {limits.component_bytes} bytes"
    return None


def _above(path: str) -> Iterator[str]:
    """The directories above `path`, outermost first."""
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _folded(path: str) -> str:
    """Equal for names that some file system takes for one (Unicode 3.13, D145: canonical caseless match).

    Slashes stay where they are: none composes with anything, so a path folds part by part.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
