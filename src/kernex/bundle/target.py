"""The directory that a bundle is unpacked into: nothing is ever written outside of it or over anything."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from kernex.domain.errors import ConflictError, UnavailableError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Target:
    """Files and links below an empty directory, each created new, reached from a held descriptor without links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._fd = -1

    def __enter__(self) -> Self:
        with _failing(self._root):
            self._fd = os.open(self._root, _DIRECTORY)
        if os.listdir(self._fd):  # noqa: PTH208 - of the descriptor that is held
            os.close(self._fd)
            raise ConflictError(f"cannot unpack into {self._root}: it is not empty")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @contextmanager
    def create(self, path: str, mode: int) -> Iterator[Callable[[bytes], object]]:
        """Hand out the function that appends to a new file."""
        with (
            _failing(self._root / path),
            self._directory_of(path) as (directory, name),
            open(os.open(name, _NEW, 0o600, dir_fd=directory), "wb") as file,  # noqa: PTH123 - a descriptor
        ):
            yield file.write
            os.fchmod(file.fileno(), mode)  # whatever the umask is

    def link(self, path: str, target: str) -> None:
        with _failing(self._root / path), self._directory_of(path) as (directory, name):
            os.symlink(target, name, dir_fd=directory)

    @contextmanager
    def _directory_of(self, path: str) -> Iterator[tuple[int, str]]:
        *above, name = path.split("/")
        fd = os.dup(self._fd)
        try:
            for part in above:
                fd = _enter(fd, part)
            yield fd, name
        finally:
            os.close(fd)


def _enter(parent: int, name: str) -> int:
    """Exchange the descriptor of a directory for that of one inside, made if it is missing."""
    try:
        child = os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o700, dir_fd=parent)
        child = os.open(name, _DIRECTORY, dir_fd=parent)
        os.fchmod(child, 0o755)
    os.close(parent)
    return child


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"cannot write {path}: {error.strerror}; free space or repair the disk") from None
