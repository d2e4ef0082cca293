"""Archives by everyday tools, which must all be the same bundle."""

import gzip
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.bundle.crafted import END, GOOD, extension, file, head, packed, padded, plain, raw, record, special, zst

from kernex.bundle.archive import Described, describe, unpack
from kernex.bundle.build import build
from kernex.bundle.verify import check_release
from kernex.domain.errors import NotFoundError, RejectedError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A bundle with everything that a bundle may hold."""
    top = tmp_path / "bundle"
    (top / "lib" / "deep").mkdir(parents=True)
    (top / "manifest.json").write_text('{"name": "vad", "version": "1.4.0", "deploy": {"script": "bin/deploy.sh"}}')
    (top / "bin").symlink_to("lib")
    (top / "lib" / "deploy.sh").write_text("#!/bin/sh\n")
    (top / "lib" / "deploy.sh").chmod(0o755)
    (top / "lib" / "latest").symlink_to("../manifest.json")
    (top / "lib" / "deep" / ("long-" * 40 + "name")).write_bytes(b"x" * 100_000)
    (top / "größe 模型").write_bytes(b"")
    return top


def read(tmp_path: Path, data: bytes) -> Described:
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    described = describe(archive)
    assert described.archive_bytes == len(data)
    return described


@pytest.mark.parametrize("form", ["gnu", "pax", "posix", "ustar"])
@pytest.mark.parametrize("names", [["."], ["bin", "größe 模型", "lib", "manifest.json"]])
@pytest.mark.parametrize("compress", [gzip.compress, zst])
def test_gnu_tar_and_kernex_make_the_same_bundle(
    form: str, names: list[str], compress: Callable[[bytes], bytes], directory: Path, tmp_path: Path
) -> None:
    if form == "ustar":  # has no room for the long name
        next((directory / "lib" / "deep").iterdir()).rename(directory / "lib" / "deep" / "short")
    tar = subprocess.run(["tar", f"--format={form}", "-c", "-C", directory, *names], capture_output=True, check=True)
    built = build(directory, tmp_path / "built.tar.zst")
    assert read(tmp_path, compress(tar.stdout)).descriptor == built.descriptor


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_python_and_kernex_make_the_same_bundle(form: int, directory: Path, tmp_path: Path) -> None:
    if form == tarfile.USTAR_FORMAT:
        next((directory / "lib" / "deep").iterdir()).rename(directory / "lib" / "deep" / "short")
    archive = tmp_path / "by-python.tar.gz"
    with tarfile.open(archive, "w:gz", format=form) as tar:
        tar.add(directory, arcname=".")
    assert describe(archive).descriptor == build(directory, tmp_path / "built").descriptor


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(packed(file("a")), id="plain"),
        pytest.param(raw(head(b"a", size=1), padded(b"x")), id="by hand"),
        pytest.param(raw(head(b"a", b"\0", 1), padded(b"x")), id="the old kind of file"),
        pytest.param(raw(head(b"a", at124=b"\x80" + b"\0" * 10 + b"\1"), padded(b"x")), id="size in base 256"),
        pytest.param(raw(head(b"a", at124=b"          1 "), padded(b"x")), id="size with spaces"),
        pytest.param(raw(extension(b"x", record("size", "1")), head(b"a"), padded(b"x")), id="size by pax"),
        pytest.param(raw(extension(b"x", record("path", "a")), head(b"b", size=1), padded(b"x")), id="name by pax"),
        pytest.param(raw(extension(b"L", b"a\0"), head(b"b", size=1), padded(b"x")), id="name by gnu"),
        pytest.param(
            raw(extension(b"g", record("comment", "2f8e")), head(b"a", size=1), padded(b"x")), id="git archive"
        ),
        pytest.param(
            raw(extension(b"x", record("mtime", "1.5") + record("uid", "0")), head(b"a", size=1), padded(b"x")),
            id="times and owners",
        ),
        pytest.param(raw(head(b"a", size=1, at136=b"\xff" * 12), padded(b"x")), id="a time before 1970"),
        pytest.param(packed(special("d", b"5"), special("d", b"5"), file("a")), id="a directory twice"),
        pytest.param(packed(special("late", b"5"), file("./a")), id="dot slash"),
        pytest.param(packed(file("a", uid=0, gid=0, uname="root", mtime=2e9, mode=0o666)), id="writable for all"),
        pytest.param(gzip.compress(plain(file("a"))[:1024]) + gzip.compress(plain(file("a"))[1024:]), id="two of gzip"),
        pytest.param(zst(plain(file("a"))[:700]) + zst(plain(file("a"))[700:]), id="two frames"),
        pytest.param(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + packed(file("a")), id="skippable frame first"),
        pytest.param(packed(file("a")) + b"\x5f\x2a\x4d\x18\x04\0\0\0abcd", id="skippable frame last"),
        pytest.param(gzip.compress(plain(file("a"))) + b"\0" * 100, id="gzip padded with zeros"),
        pytest.param(zst(plain(file("a")) + b"\0" * 20_000), id="much padding"),
        pytest.param(zstandard.ZstdCompressor(19, write_content_size=False).compress(plain(file("a"))), id="level 19"),
    ],
)
def test_unusual_but_honest_archives_are_the_same_bundle(data: bytes, tmp_path: Path) -> None:
    expected = read(tmp_path, raw(head(b"a", size=1), padded(b"x")))
    assert read(tmp_path, data).descriptor == expected.descriptor


def test_what_is_described_is_what_is_unpacked(directory: Path, tmp_path: Path) -> None:
    tar = subprocess.run(["tar", "-c", "-C", directory, "."], capture_output=True, check=True)
    descriptor = read(tmp_path, gzip.compress(tar.stdout)).descriptor
    release = tmp_path / "release"
    release.mkdir()
    unpack(tmp_path / "archive", release, descriptor)
    assert check_release(release, descriptor) == []
    assert check_release(directory, descriptor) == []
    assert (release / "bin" / "deploy.sh").stat().st_mode & 0o777 == 0o755
    assert (release / "lib").stat().st_mode & 0o777 == 0o755
    assert (release / "lib" / "latest").read_text() == (directory / "manifest.json").read_text()


def test_a_directory_packed_from_outside_gets_a_hint(directory: Path, tmp_path: Path) -> None:
    tar = subprocess.run(["tar", "-c", "-C", tmp_path, "bundle"], capture_output=True, check=True)
    words = r"cannot use the archive as a bundle: it has no manifest.json at its top.*'bundle/manifest.json'.*pack what"
    with pytest.raises(RejectedError, match=words):
        read(tmp_path, gzip.compress(tar.stdout))


def test_an_archive_without_manifest_is_refused(tmp_path: Path) -> None:
    for data in (zst(END), zst(plain(file("a"), manifest=False))):
        with pytest.raises(RejectedError, match=r"it has no manifest\.json at its top"):
            read(tmp_path, data)


@pytest.mark.parametrize(
    ("manifest", "refused"),
    [
        ('{"version": "1", "deploy": {"script": "bin/go"}}', None),
        ('{"version": "1", "deploy": {"script": "./bin/go --now"}}', None),
        ('{"version": "1", "deploy": {"script": "link/go"}}', None),
        ('{"version": "1", "deploy": {"script": "up/bin/go"}}', "up/bin/go"),
        ('{"version": "1", "deploy": {"script": "bin"}}', "bin"),
        ('{"version": "1", "health": {"script": "probe.py"}}', "probe.py"),
        ('{"version": "1", "rollback": {"script": "link/back"}}', "link/back"),
        ('{"version": "1", "run": {"command": ["./bin/go"]}}', None),
        ('{"version": "1", "run": {"command": ["python3", "missing.py"]}}', None),
        ('{"version": "1", "run": {"command": ["/usr/bin/env"]}}', None),
        ('{"version": "1", "run": {"command": ["bin/gone"]}}', "bin/gone"),
        ('{"version": "1", "run": {"command": ["../bin/go"]}}', "../bin/go"),
    ],
)
def test_a_manifest_names_files_that_are_there(manifest: str, refused: str | None, tmp_path: Path) -> None:
    members = [file("manifest.json", manifest.encode()), file("bin/go"), special("link", b"2", "bin")]
    data = zst(plain(*members, special("bin/to", b"2", "../bin/go"), manifest=False))
    if refused is None:
        read(tmp_path, data)
        return
    with pytest.raises(RejectedError, match=f"its manifest runs '{refused}', which is no file of it"):
        read(tmp_path, data)


def test_progress_counts_the_bytes_of_the_archive(tmp_path: Path) -> None:
    archive, told = tmp_path / "archive", list[int]()
    archive.write_bytes(zst(GOOD + END))
    describe(archive, progress=told.append)
    assert sum(told) == archive.stat().st_size


def test_a_missing_archive_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cannot read .*nothing: there is no such file"):
        describe(tmp_path / "nothing")
