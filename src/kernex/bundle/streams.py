"""The archive as a stream: decompressed, hashed on the way, never more than a window of it in memory."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import zstandard

from kernex.bundle.limits import Limits
from kernex.domain.bundle import Digest
from kernex.domain.errors import NotFoundError, RejectedError

READ_BYTES = 256 * 1024
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # bytes 1 to 3 of a frame that carries no content (RFC 8878, 3.1.2)

Progress = Callable[[int], None]  # so many bytes more are done


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Source:
    """The compressed bytes: counted and hashed as they pass."""

    def __init__(self, file: BinaryIO, progress: Progress | None) -> None:
        self._file, self._progress = file, progress
        self._hash = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int = READ_BYTES) -> bytes:
        piece = self._file.read(size)
        self._hash.update(piece)
        self.bytes += len(piece)
        if self._progress is not None:
            self._progress(len(piece))
        return piece

    @property
    def sha256(self) -> Digest:
        return Digest(self._hash.hexdigest())


class Gzip:
    """Gzip members (RFC 1952) one behind the other, and nothing but zeros behind them.

    Not `gzip.GzipFile`: it skips zeros behind a member one call a byte, so that 100 MB of them hold a
    device up for half a minute.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._member = _member()
        self._input = b""

    def read(self, size: int, /) -> bytes:
        while True:
            if self._member.eof:
                self._input = self._behind(self._member.unused_data)
                if not self._input:
                    return b""
                self._member = _member()
            elif not self._input:
                self._input = self._source.read()
                if not self._input:
                    raise EOFError("it ends inside a gzip member")
            piece = self._member.decompress(self._input, size)
            self._input = self._member.unconsumed_tail
            if piece:
                return piece

    def _behind(self, rest: bytes) -> bytes:
        """What follows a member: the start of the next one, or nothing. Padding with zeros is passed over."""
        while not (start := rest.lstrip(b"\0")):
            rest = self._source.read()
            if not rest:
                return b""
        return start


class Zstd:
    """Zstd frames (RFC 8878) one behind the other, the last one whole.

    `zstandard` reads a stream that stops inside a frame as one that ends. So a frame with a mark is put
    behind the source: what is cut swallows or garbles it. It is random, so that no archive can bring its own.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self._mark = os.urandom(16)
        marked = cast("BinaryIO", _Followed(source, zstandard.compress(self._mark)))
        decompressor = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
        self._frames = decompressor.stream_reader(marked, read_across_frames=True, closefd=False)
        self._held = b""  # the last bytes so far, which may be the mark

    def read(self, size: int, /) -> bytes:
        while piece := self._frames.read(size):
            data = self._held + piece
            piece, self._held = data[: -len(self._mark)], data[-len(self._mark) :]
            if piece:
                return piece
        if self._held != self._mark:
            raise EOFError("it ends inside a zstd frame")
        return b""


class _Followed:
    """A source with something behind its last byte."""

    def __init__(self, source: Source, last: bytes) -> None:
        self._source, self._last = source, last

    def read(self, size: int, /) -> bytes:
        piece = self._source.read(size)
        if not piece:
            piece, self._last = self._last, b""
        return piece


def _member() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


class Stream:
    """The decompressed bytes. Reading raises RejectedError when they are damaged or out of all proportion."""

    def __init__(self, source: Source, decompressed: Readable, limits: Limits) -> None:
        self.source, self._decompressed, self._limits = source, decompressed, limits
        self._bytes = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        try:
            piece = self._decompressed.read(size)
        except (zstandard.ZstdError, zlib.error, EOFError) as error:
            raise refused(f"it is damaged ({error})") from None
        self._bytes += len(piece)
        if self._bytes > max(self._limits.ratio_free_bytes, self._limits.ratio * self.source.bytes):
            raise refused(f"it unpacks to more than {self._limits.ratio} times its size")
        return piece

    def exactly(self, size: int) -> bytes:
        """`size` bytes, for sizes that are known to be small."""
        data = b""
        while len(data) < size:
            piece = self.read(size - len(data))
            if not piece:
                raise refused("it ends too early")
            data += piece
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        """`size` bytes, a piece at a time."""
        while size:
            piece = self.read(min(size, READ_BYTES))
            if not piece:
                raise refused("it ends too early")
            size -= len(piece)
            yield piece


@contextmanager
def opened(path: Path, limits: Limits, progress: Progress | None = None) -> Iterator[Stream]:
    """Read an archive, zstd or gzip by its first bytes."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"cannot read {path}: there is no such file") from None
    with file:
        magic = file.read(4)
        file.seek(0)
        source = Source(file, progress)
        if magic == ZSTD or magic[1:] == ZSTD_SKIPPABLE:
            yield Stream(source, Zstd(source, limits), limits)
        elif magic.startswith(GZIP):
            yield Stream(source, Gzip(source), limits)
        else:
            raise refused("it is neither tar.zst nor tar.gz; make one with: kernex bundle build")


def refused(reason: str) -> RejectedError:
    return RejectedError(f"cannot use the archive as a bundle: {reason}")
