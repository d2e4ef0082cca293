"""Archives made by hand, down to the last bit of a header, compressed or not.

`raw`, `packed` and `pax` start with a good manifest, so that nothing but the rest can be the reason of a refusal.
"""

import io
import tarfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import zstandard

MANIFEST = ("manifest.json", b'{"version": "1.0.0"}')
DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

Hostile = dict[str, tuple[Callable[[], bytes], str]]


def file(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def special(name: str, kind: bytes, target: str = "", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", type=kind, linkname=target, **fields)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return special(name, LINK, target)


def plain(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT, manifest: bool = True) -> bytes:
    """An uncompressed archive by Python's own writer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in (*([file(*MANIFEST)] if manifest else []), *members):
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data)


def packed(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    return zst(plain(*members, form=form))


def head(name: bytes = b"a", kind: bytes = b"0", size: int = 0, **fields: bytes) -> bytes:
    """A header block with a right checksum, whatever is in it. `fields`: at0=, at124=, ... replace bytes there."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    for where, value in fields.items():
        start = int(where.removeprefix("at"))
        block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


END = b"\0" * 1024
GOOD = head(b"manifest.json", size=len(MANIFEST[1])) + padded(MANIFEST[1])


def raw(*pieces: bytes, end: bytes = END) -> bytes:
    return zst(GOOD + b"".join(pieces) + end)


def extension(kind: bytes, data: bytes) -> bytes:
    return head(b"././@Extension", kind, len(data)) + padded(data)


def record(key: str, value: str | bytes) -> bytes:
    text = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
    length = len(text) + len(str(len(text)))
    length = len(text) + len(str(length))
    return str(length).encode() + text


def pax(key: str, value: str | bytes) -> bytes:
    return raw(extension(b"x", record(key, value)), head(b"a"))


def gzip_of(pieces: Iterable[bytes]) -> bytes:
    deflate = zlib.compressobj(9, wbits=31)
    return b"".join([deflate.compress(piece) for piece in pieces]) + deflate.flush()


def zstd_of(pieces: Iterable[bytes], **parameters: int) -> bytes:
    """One frame without content size; `parameters` are those of zstd, like window_log."""
    chosen = zstandard.ZstdCompressionParameters.from_level(1, **parameters)
    deflate = zstandard.ZstdCompressor(compression_params=chosen).compressobj()
    return b"".join([deflate.compress(piece) for piece in pieces]) + deflate.flush()


def skippable(data: bytes, size: int | None = None) -> bytes:
    """A zstd frame without content."""
    return b"\x50\x2a\x4d\x18" + (len(data) if size is None else size).to_bytes(4, "little") + data
