"""Bytes by hash, on a disk or in an object store. Every pointer that changes is in SQL."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from kernex import durable
from kernex.domain.errors import NotFoundError, RejectedError, UnavailableError

READ_BYTES = 1024 * 1024  # of one read while a blob is handed out


class Blobs:
    """A content-addressed store at a ``file:``, ``s3:``, ``gs:`` or ``az:`` URL."""

    def __init__(self, url: str) -> None:
        self._root: Path | None = None
        try:
            if urlparse(url).scheme == "file":
                self._root = Path(url2pathname(urlparse(url).path))
                durable.make_directory(self._root)
                self._store: ObjectStore = LocalStore(self._root)
            else:
                self._store = from_url(url)
        except BaseError as error:
            raise RejectedError(f"cannot use the store {url}: {error}") from error

    def put(self, sha256: str, source: Path | bytes) -> None:
        """Store bytes under their hash, durably; that they are there already is fine.

        In parts: a put in one piece would hold the whole file in memory. What lies there already is not
        believed, it may be the rest of a power cut: the same bytes are written again.
        """
        key = _key(sha256)
        try:
            obstore.put(self._store, key, source, use_multipart=True, max_concurrency=2)
        except BaseError as error:
            raise UnavailableError(f"cannot write to the bundle store: {error}") from error
        if self._root is not None:
            _sync(self._root / key)

    def get(self, sha256: str) -> bytes:
        """A small blob, whole."""
        try:
            return bytes(obstore.get(self._store, _key(sha256)).bytes())
        except FileNotFoundError:
            raise NotFoundError(f"cannot find the bytes {sha256}: they are not in the bundle store") from None
        except BaseError as error:
            raise UnavailableError(f"cannot read from the bundle store: {error}") from error

    async def stream(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (exclusive), a piece at a time."""
        while start < end:
            stop = min(end, start + READ_BYTES)
            try:
                piece = await obstore.get_range_async(self._store, _key(sha256), start=start, end=stop)
            except BaseError as error:
                raise UnavailableError(f"cannot read from the bundle store: {error}") from error
            yield bytes(piece)
            start = stop


def _key(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256}"


def _sync(path: Path) -> None:
    """The local store renames without fsync; what is acknowledged must survive power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
        durable.sync_directory(directory)
