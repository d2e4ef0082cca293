"""What must hold for any bytes at all: a target returns when it does, and raises when not."""

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import zstandard

from kernex.bundle import manifest as manifests
from kernex.bundle.archive import describe, unpack
from kernex.bundle.descriptor import Descriptor, normal_mode
from kernex.bundle.verify import check_release
from kernex.domain.errors import KernexError

BLOCK = 512
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")

Target = Callable[[bytes], None]


def archive(data: bytes) -> None:
    """Bytes of a tar, or compressed ones: refused in words, or exactly what was described comes to lie on disk.

    The checksums of headers are made right first, or no mutation would ever get behind one.
    """
    if data.startswith(COMPRESSED):
        judge(data)
        return
    plain = mended(data)
    descriptor = judge(zstandard.compress(plain, 1))
    if descriptor is not None and b"ustar  \0" not in plain:  # Python takes what GNU has there for a part of the name
        seen_alike(plain, descriptor)


def manifest(data: bytes) -> None:
    """Any bytes as manifest.json: refused in words, or JSON that every other reader takes for the same."""
    try:
        read = manifests.read(data)
    except KernexError as error:
        refused_in_words(error)
        return
    assert json.loads(data)["version"] == read.version
    assert all(path and not path.startswith("/") and ".." not in path.split("/") for path in read.scripts)


TARGETS: dict[str, Target] = {"archive": archive, "manifest": manifest}


def judge(data: bytes) -> Descriptor | None:
    """Describe and unpack; None when it is refused."""
    scratch = _scratch()
    path, release = scratch / "archive", scratch / "release"
    path.write_bytes(data)
    try:
        descriptor = describe(path).descriptor
    except KernexError as error:
        refused_in_words(error)
        return None
    try:
        release.mkdir()
        unpack(path, release, descriptor)
        assert check_release(release, descriptor) == []
        assert {found.name for found in scratch.iterdir()} == {"archive", "release"}
        assert all(found.resolve().is_relative_to(release.resolve()) for found in release.rglob("*"))
    finally:
        shutil.rmtree(release)
    return descriptor


def seen_alike(plain: bytes, descriptor: Descriptor) -> None:
    """Python's own reader finds the same files and links in an accepted archive."""
    files, links = {}, {}
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                files[name] = (hashlib.sha256(content.read()).hexdigest(), normal_mode(member.mode))
            elif member.issym():
                links[name] = member.linkname
    assert files == {file.path: (str(file.sha256), file.mode) for file in descriptor.files}
    assert links == {link.path: link.target for link in descriptor.links}


def refused_in_words(error: KernexError) -> None:
    assert str(error).startswith("cannot ")
    assert str(error).isprintable(), str(error)


def mended(data: bytes) -> bytes:
    """The same with a right checksum in every block that looks like a header."""
    mended = bytearray(data)
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        if data[start + 257 : start + 262] == b"ustar":
            mended[start + 148 : start + 156] = b" " * 8
            mended[start + 148 : start + 156] = b"%06o\0 " % sum(mended[start : start + BLOCK])
    return bytes(mended)


@cache
def _scratch() -> Path:
    """One directory for all of them, in memory where the system has that."""
    memory = Path("/dev/shm")
    holder = tempfile.TemporaryDirectory(prefix="kernex-fuzz-", dir=memory if memory.is_dir() else None)
    _HOLDERS.append(holder)
    return Path(holder.name)


_HOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # deleted with the process
