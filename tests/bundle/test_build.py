"""From a directory to the same bytes, every time."""

import os
import shutil
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from kernex.bundle.archive import describe
from kernex.bundle.build import build
from kernex.domain.errors import NotFoundError, RejectedError, UnavailableError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    top = tmp_path / "bundle"
    (top / "bin").mkdir(parents=True)
    (top / "manifest.json").write_text('{"name": "vad", "version": "1.4.0"}')
    (top / "bin" / "go").write_text("#!/bin/sh\n")
    (top / "bin" / "go").chmod(0o700)
    (top / "a.onnx").write_bytes(os.urandom(300_000))
    (top / "latest").symlink_to("a.onnx")
    return top


def test_the_same_files_give_the_same_bytes(directory: Path, tmp_path: Path) -> None:
    first = build(directory, tmp_path / "first")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "latest").symlink_to("a.onnx")
    (copy / "empty").mkdir()
    for name in ("manifest.json", "a.onnx"):
        shutil.copyfile(directory / name, copy / name)
        (copy / name).chmod(0o664)
        os.utime(copy / name, (1, 1))
    shutil.copytree(directory / "bin", copy / "bin")
    (copy / "bin" / "go").chmod(0o777)
    second = build(copy, tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert first == second


def test_one_other_byte_gives_another_digest(directory: Path, tmp_path: Path) -> None:
    first = build(directory, tmp_path / "first")
    (directory / "bin" / "go").write_text("#!/bin/bash\n")
    assert build(directory, tmp_path / "second").digest != first.digest


def test_what_build_says_is_what_a_reader_finds(directory: Path, tmp_path: Path) -> None:
    assert build(directory, tmp_path / "out") == describe(tmp_path / "out")


def test_the_manifest_comes_first_and_nothing_tells_of_the_builder(directory: Path, tmp_path: Path) -> None:
    build(directory, tmp_path / "out")
    with (
        zstandard.open(tmp_path / "out", "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        members = list(tar)
    assert [member.name for member in members] == ["manifest.json", "a.onnx", "bin/go", "latest"]
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }
    assert [member.mode for member in members] == [0o644, 0o644, 0o755, 0o777]


def test_caches_and_the_archive_itself_are_left_out(directory: Path) -> None:
    before = build(directory, directory / "vad.tar.zst")
    assert before.ignored == ()
    (directory / "bin" / "__pycache__").mkdir()
    (directory / "bin" / "__pycache__" / "x.pyc").write_bytes(b"")
    (directory / ".git").mkdir()
    (directory / ".DS_Store").write_bytes(b"")
    after = build(directory, directory / "vad.tar.zst")
    assert after.descriptor == before.descriptor
    assert after.ignored == (".DS_Store", ".git", "bin/__pycache__", "vad.tar.zst")


def test_progress_counts_the_bytes_of_the_files(directory: Path, tmp_path: Path) -> None:
    told: list[int] = []
    described = build(directory, tmp_path / "out", progress=told.append)
    assert sum(told) == described.descriptor.installed_bytes


def _fifo(top: Path) -> None:
    os.mkfifo(top / "fifo")


def _socket(top: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(top / "socket"))


def _deep(top: Path) -> None:
    deepest = top / "/".join("d" * 32)
    deepest.mkdir(parents=True)
    (deepest / "f").touch()


def _link(target: str, name: str = "l") -> Callable[[Path], object]:
    return lambda top: (top / name).symlink_to(target)


def _file(name: str, content: str = "x") -> Callable[[Path], object]:
    return lambda top: (top / name).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda top: (top / "manifest.json").unlink(), r"it has no manifest\.json at its top"),
        (_file("manifest.json", "{"), r"cannot read manifest\.json: it is not JSON"),
        (_file("manifest.json", '{"version": "1", "deploy": {"script": "go"}}'), "its manifest runs 'go'"),
        (_fifo, "a socket, a fifo or a device"),
        (_socket, "a socket, a fifo or a device"),
        (_link("/etc/passwd"), "absolute"),
        (_link("../victim"), "outside of the bundle"),
        (_link("latest"), "another link"),
        (_link("l"), "another link"),
        (_file("manifest.json", " " * (2**20 + 1)), "larger than 1048576 bytes"),
        (_file("A.onnx"), "only in case"),
        (_file("a\nb"), "control character"),
        (_file("a\\b"), "backslash"),
        (_file(os.fsdecode(b"a\xff")), "not Unicode"),
        (_deep, "32 directories"),
    ],
)  # fmt: skip
def test_what_no_device_would_accept_is_not_built(
    spoil: Callable[[Path], object], words: str, directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("the last good one")
    spoil(directory)
    with pytest.raises(RejectedError, match=words):
        build(directory, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "the last good one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "out"]


def test_a_file_that_shrinks_while_it_is_packed_is_not_half_packed(directory: Path, tmp_path: Path) -> None:
    def shrink(_count: int) -> None:
        os.truncate(directory / "a.onnx", 10)

    (directory / "a.onnx").write_bytes(b"x" * 3_000_000)
    with pytest.raises(RejectedError, match=r"cannot pack 'a\.onnx': it became shorter"):
        build(directory, tmp_path / "out", progress=lambda count: shrink(count) if count > 100 else None)
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no such directory"):
        build(tmp_path / "nothing", tmp_path / "out")


def test_an_output_that_cannot_be_written_is_said(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"cannot build .*out: .*No such file or directory"):
        build(directory, tmp_path / "nowhere" / "out")
