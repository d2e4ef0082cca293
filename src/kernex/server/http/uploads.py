"""An upload, streamed to disk: never whole in memory, counted while it comes."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from kernex.domain.errors import RejectedError
from kernex.server.http.problems import TooLargeError
from kernex.wire import limits

_BUFFER = 1024 * 1024  # bytes gathered before a thread writes them


@dataclass(slots=True)
class Upload:
    """`archive` is a file of ours: names never come from clients. `manifest` is the field beside it."""

    archive: Path
    manifest: bytes | None = None


@asynccontextmanager
async def received(request: Request[Any, Any, Any], directory: Path, max_bytes: int) -> AsyncIterator[Upload]:
    """The parts of a ``multipart/form-data`` body (RFC 7578); gone when the block is left."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise RejectedError("cannot read the upload: send multipart/form-data with the archive in the part 'file'")
    if int(request.headers.get("content-length") or 0) > max_bytes + limits.JSON_BYTES:
        raise TooLargeError(f"cannot take the upload: {max_bytes} bytes at most")
    with tempfile.NamedTemporaryFile(dir=directory, prefix="upload-") as file:
        parts = _Parts(file.write, max_bytes)
        try:
            with PushMultipartParser(options["boundary"], max_segment_count=16) as parser:
                async for chunk in request.stream():
                    for found in parser.parse(chunk):
                        parts.take(found)
                    if len(parts.waiting) >= _BUFFER:
                        await asyncio.to_thread(parts.write)
                if not parser.closed:
                    raise RejectedError("cannot read the upload: it ended before its last part did")
        except MultipartError as error:
            raise RejectedError(f"cannot read the upload: {error}") from None
        await asyncio.to_thread(parts.write)
        file.flush()
        if not parts.has_file:
            raise RejectedError("cannot store the upload: it has no part 'file'")
        yield Upload(Path(file.name), parts.manifest)


class _Parts:
    """Sorts what the parser finds: the file goes to disk, the manifest stays, the rest is dropped."""

    def __init__(self, write: Any, max_bytes: int) -> None:
        self._write, self._left = write, max_bytes
        self._name = ""
        self.waiting = bytearray()
        self.manifest: bytes | None = None
        self.has_file = False

    def take(self, found: MultipartSegment | bytearray | None) -> None:
        if isinstance(found, MultipartSegment):
            self._name = found.name
            if self._name == "file":
                if self.has_file:
                    raise RejectedError("cannot store the upload: it has more than one part 'file'")
                self.has_file = True
            elif self._name == "manifest":
                self.manifest = b""
        elif found and self._name == "file":
            self._left -= len(found)
            if self._left < 0:
                raise TooLargeError("cannot take the upload: it is larger than this control plane allows")
            self.waiting += found
        elif found and self._name == "manifest":
            self.manifest = (self.manifest or b"") + bytes(found)
            if len(self.manifest) > limits.JSON_BYTES:
                raise TooLargeError(f"cannot take the manifest field: {limits.JSON_BYTES} bytes at most")

    def write(self) -> None:
        self._write(self.waiting)
        self.waiting = bytearray()
