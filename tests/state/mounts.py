"""Small file systems to be filled up: real ones, in memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small(where: Path, size: str, inodes: int) -> Iterator[Path]:
    """A tmpfs of this size. Where nothing may be mounted the test is skipped, but not in CI."""
    where.mkdir(parents=True)
    options = f"size={size},nr_inodes={inodes},mode=0700"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "kernex-test", where], capture_output=True, text=True, check=False
    )
    if made.returncode:
        assert os.environ.get("CI") != "true", f"cannot mount a small file system: {made.stderr}"
        pytest.skip(f"needs a small file system, and here nothing may be mounted: {made.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def fill(where: Path, *, leave: int = 0) -> Path:
    """Write until only `leave` bytes are left; returns the file to remove again."""
    filler = where / "filler"
    with filler.open("ab", buffering=0) as file:
        found = os.statvfs(where)
        left = found.f_bavail * found.f_frsize - leave
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 16)))
    return filler


def use_up_inodes(where: Path, *, leave: int = 0) -> Path:
    """Make empty files until only `leave` inodes are left; returns the directory to remove again."""
    crowd = where / "crowd"
    crowd.mkdir()
    for number in range(os.statvfs(where).f_favail - leave):
        (crowd / str(number)).touch()
    return crowd
