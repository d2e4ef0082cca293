"""Writes that are there or not there after power loss.

Facts behind the order (measured on ext4 and XFS): a rename without fsync of the file leaves NUL bytes
or an empty file, even when the directory was synced; a rename is durable only once its directory is.
"""

import os
from pathlib import Path


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `data` in one step: afterwards it holds the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    rename(temporary, path)


def rename(source: Path, target: Path) -> None:
    """Give `source`, whose content is already durable, its final name durably."""
    source.replace(target)
    sync_directory(target.parent)


def point(link: Path, target: str) -> None:
    """Make `link` a symlink to `target` in one step, replacing whatever it pointed to."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    rename(temporary, link)


def remove(path: Path) -> None:
    """Remove a file or link durably; that it is gone already is fine."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Create `path` and what is missing above it, each entry durable."""
    if path.is_dir():
        return
    make_directory(path.parent, mode=mode)
    path.mkdir(mode=mode, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(root: Path) -> None:
    """Make every file and directory below `root` durable, deepest first."""
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        sync_directory(Path(directory))
