"""Headers of a tar archive (POSIX ustar and pax, GNU long names), read strictly.

Not `tarfile`: its parser hangs, loops or sees directories where other readers see files on some patch
levels of Python 3.11 (CVE-2024-6232, CVE-2025-8194, CVE-2025-13462), takes a damaged header for the end,
and knows a dozen kinds of member that a bundle has no use for. What is not understood here is refused.
"""

import re
from dataclasses import dataclass

from kernex.bundle.limits import Limits
from kernex.bundle.names import Kind
from kernex.bundle.streams import Stream, refused

BLOCK = 512  # bytes
_MAGIC = {b"ustar\x0000": True, b"ustar  \x00": False}  # POSIX, GNU: whether a prefix of the name may follow
_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"5": Kind.DIRECTORY, b"2": Kind.LINK}
_REFUSED = {
    b"1": "a hard link: pack the file itself (tar --hard-dereference)",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"7": "a contiguous file",
    b"S": "a sparse file: pack it without --sparse",
}
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL = re.compile(rb"[0-9]{1,19}")
#: Owner, group, time, device: of no use here, but other readers stop where one is damaged, and see less than this one.
_UNUSED = (slice(108, 116), slice(116, 124), slice(136, 148), slice(329, 337), slice(337, 345))
#: PAX records without meaning for a bundle. Sparse files, extended attributes, ACLs and charsets are not among them.
_IGNORED = frozenset(
    ["atime", "comment", "ctime", "gid", "gname", "LIBARCHIVE.creationtime", "mtime", "uid", "uname"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """One member as its archive describes it; `name` and `target` are not judged yet."""

    kind: Kind
    name: str
    target: str
    size: int  # bytes; 0 unless it is a file
    mode: int


class Headers:
    """The headers of an archive in order. Between two calls of `next` the caller reads the content and its padding."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._blocks = 0

    def next(self) -> Header | None:
        """The next member; None at the end, after which only zeros followed."""
        extended: dict[str, bytes] = {}
        while True:
            block = self._stream.exactly(BLOCK)
            if not any(block):
                if extended:
                    raise refused("it ends after an extension header")
                self._end()
                return None
            self._blocks += 1
            if self._blocks > self._limits.members:
                raise refused(f"it has more than {self._limits.members} headers")
            _check(block)
            kind, size = block[156:157], _number(block[124:136])
            if kind not in b"xgLK":
                return self._member(block, kind, size, extended)
            for key, value in self._extension(kind, size).items():
                if key in extended:
                    raise refused(f"a header gives its {key} twice")
                extended[key] = value

    def _extension(self, kind: bytes, size: int) -> dict[str, bytes]:
        if size > self._limits.extension_bytes:
            raise refused(f"it has an extension header of {size} bytes: {self._limits.extension_bytes} at most")
        data = self._stream.exactly(size + padding(size))[:size]
        if kind in b"LK":
            return {"path" if kind == b"L" else "linkpath": _until_nul(data)}
        records = {key: value for key, value in _records(data).items() if key not in _IGNORED}
        unknown = sorted(records.keys() - {"path", "linkpath", "size"})
        if unknown:
            raise refused(f"it uses {unknown[0][:80]!r}, which bundles do not carry (attributes, sparse files)")
        if records and kind == b"g":
            raise refused("a global header names members")
        return records

    @staticmethod
    def _member(block: bytes, kind: bytes, size: int, extended: dict[str, bytes]) -> Header:
        name = _until_nul(block[:100])
        prefix = _until_nul(block[345:500]) if _MAGIC[block[257:265]] else b""
        name = extended.get("path", b"/".join(filter(None, (prefix, name))))
        target = extended.get("linkpath", _until_nul(block[157:257]))
        if kind not in _KINDS:
            raise refused(f"{_text(name)[:80]!r} is {_REFUSED.get(kind, f'a member of unknown type {kind!r}')}")
        if "size" in extended:
            if not _DECIMAL.fullmatch(extended["size"]):
                raise refused(f"{_text(name)[:80]!r} has no number as its size")
            if size not in {0, int(extended["size"])}:
                raise refused(f"{_text(name)[:80]!r} has two sizes")
            size = int(extended["size"])
        if size and _KINDS[kind] is not Kind.FILE:
            raise refused(f"{_text(name)[:80]!r} is a {_KINDS[kind]} with content")
        return Header(_KINDS[kind], _text(name), _text(target), size, _number(block[100:108]))

    def _end(self) -> None:
        tail = self._stream.exactly(BLOCK)
        while tail:
            if tail.strip(b"\0"):
                raise refused("something follows the end of it")
            tail = self._stream.read(BLOCK * 128)


def padding(size: int) -> int:
    """The bytes between content of `size` bytes and the next block."""
    return -size % BLOCK


def _check(block: bytes) -> None:
    if block[257:265] not in _MAGIC:
        raise refused("it is no tar archive, or a header of it is damaged")
    if sum(block[:148]) + 8 * ord(" ") + sum(block[156:]) != _number(block[148:156]):
        raise refused("the checksum of a header is wrong")
    for field in _UNUSED:
        if block[field.start] != 0xFF:  # GNU: a negative number in base 256, like a time before 1970
            _number(block[field])


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU: a positive number in base 256
        return int.from_bytes(field[1:], "big")
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise refused(f"a header has {field!r} where a number belongs")
    return int(match[1] or b"0", 8)


def _records(data: bytes) -> dict[str, bytes]:
    """PAX records, each ``LENGTH KEY=VALUE\\n`` where LENGTH counts all of it."""
    result: dict[str, bytes] = {}
    while data:
        digits, space, _ = data[:6].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record, data = data[:length], data[length:]
        key, separator, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or not separator or not record.endswith(b"\n") or _text(key) in result:
            raise refused("a PAX header is damaged")
        result[_text(key)] = value
    return result


def _until_nul(field: bytes) -> bytes:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise refused("a name has a NUL inside")
    return text


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise refused(f"the name {name[:80]!r} is not UTF-8") from None
