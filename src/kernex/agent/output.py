"""What a program printed, within bounds: a release may print for ever, a disk and a report may not."""

import os
from collections import deque
from io import FileIO
from pathlib import Path


class Excerpt:
    """The first and the last half of `limit` bytes; what was between is counted, not kept."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._left_out = 0

    def write(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        if rest := data[room:] if room > 0 else data:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._half:
            gone = self._tail.popleft()
            self._tail_bytes -= len(gone)
            self._left_out += len(gone)

    def text(self) -> str:
        tail = b"".join(self._tail)
        left_out = self._left_out + max(0, len(tail) - self._half)
        gap = f"\n[… {left_out} bytes left out …]\n".encode() if left_out else b""
        return (bytes(self._head) + gap + tail[-self._half :]).decode("utf-8", errors="replace")

    def last_words(self, characters: int) -> str:
        """The end of it, for an error message; empty when nothing was printed."""
        return self.text().strip()[-characters:]


class RotatedFile:
    """A log of at most `limit` bytes, and the one before it as ``NAME.1``. What keeps it from being written, like a
    full disk, is an OSError of `write`; the next one tries again."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._file: FileIO | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        while data:
            file = self._with_room()
            piece, data = data[: self._limit - self._size], data[self._limit - self._size :]
            file.write(piece)
            self._size += len(piece)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _with_room(self) -> FileIO:
        file = self._file or self._open()
        if self._size < self._limit:
            return file
        self.close()
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        return self._open()

    def _open(self) -> FileIO:
        self._file = self._path.open("ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        return self._file
