"""From bytes that somebody sent to a release on disk."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernex.bundle.archive import Described
from kernex.bundle.build import build
from kernex.bundle.verify import VerifiedBundle, check_release, open_verified
from kernex.domain.bundle import Digest
from kernex.domain.errors import ConflictError, NotFoundError, RejectedError, UnavailableError

OTHER = Digest("0" * 64)


@dataclass(frozen=True)
class Sent:
    """A bundle as a device gets it: the archive, and what the control plane says of it."""

    archive: Path
    described: Described

    def open(
        self, *, digest: Digest | None = None, sha256: Digest | None = None, size: int | None = None
    ) -> VerifiedBundle:
        return open_verified(
            self.archive,
            self.described.descriptor.encode(),
            digest=digest or self.described.digest,
            archive_sha256=sha256 or self.described.archive_sha256,
            archive_bytes=size or self.described.archive_bytes,
        )


def made(top: Path, model: bytes = b"weights") -> Sent:
    directory = top / "bundle"
    (directory / "bin").mkdir(parents=True)
    (directory / "manifest.json").write_text('{"name": "vad", "version": "1.4.0", "deploy": {"script": "bin/go"}}')
    (directory / "bin" / "go").write_text("#!/bin/sh\n")
    (directory / "bin" / "go").chmod(0o755)
    (directory / "model.onnx").write_bytes(model)
    (directory / "latest").symlink_to("model.onnx")
    return Sent(top / "vad.tar.zst", build(directory, top / "vad.tar.zst"))


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return made(tmp_path / "good")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "release").mkdir()
    return tmp_path / "release"


def test_what_was_promised_is_opened_and_unpacked(sent: Sent, release: Path) -> None:
    bundle = sent.open()
    assert (bundle.manifest, bundle.descriptor) == (sent.described.manifest, sent.described.descriptor)
    bundle.unpack(release)
    assert check_release(release, bundle.descriptor) == []
    assert (release / "latest").read_bytes() == b"weights"


def test_permissions_do_not_depend_on_the_umask(sent: Sent, release: Path) -> None:
    before = os.umask(0o077)
    try:
        sent.open().unpack(release)
    finally:
        os.umask(before)
    assert (release / "bin").stat().st_mode & 0o777 == 0o755
    assert (release / "bin" / "go").stat().st_mode & 0o777 == 0o755
    assert (release / "model.onnx").stat().st_mode & 0o777 == 0o644


def test_an_archive_of_another_size_or_sum_is_refused(sent: Sent) -> None:
    with pytest.raises(RejectedError, match=r"archive of vad==1\.4\.0: it has [0-9]+ bytes, not 5"):
        sent.open(size=5)
    with pytest.raises(
        RejectedError, match=r"archive of vad==1\.4\.0: its SHA-256 is [0-9a-f]{12}…, not 000000000000…"
    ):
        sent.open(sha256=OTHER)
    with pytest.raises(RejectedError, match="cannot use the descriptor: its SHA-256 is not 000000000000…"):
        sent.open(digest=OTHER)


def test_an_archive_is_not_parsed_before_its_sum_is_right(sent: Sent) -> None:
    data = bytearray(sent.archive.read_bytes())
    data[:4] = b"evil"
    sent.archive.write_bytes(data)
    with pytest.raises(RejectedError, match="its SHA-256 is"):
        sent.open()


def test_an_archive_that_is_not_what_the_descriptor_names_is_refused(sent: Sent, tmp_path: Path) -> None:
    evil = made(tmp_path / "evil", model=b"poison!")
    with pytest.raises(
        RejectedError,
        match=r"cannot use the archive of vad==1\.4\.0: model\.onnx has other content: expected [0-9a-f]{12}…, found",
    ):
        Sent(evil.archive, sent.described).open(sha256=evil.described.archive_sha256, size=evil.described.archive_bytes)


def test_an_archive_that_changed_after_it_was_verified_is_found(sent: Sent, release: Path, tmp_path: Path) -> None:
    bundle = sent.open()
    shutil.copyfile(made(tmp_path / "evil", model=b"poison!").archive, sent.archive)
    with pytest.raises(RejectedError, match=r"cannot unpack the bundle: model\.onnx has other content"):
        bundle.unpack(release)


def test_only_an_empty_directory_is_unpacked_into(sent: Sent, release: Path, tmp_path: Path) -> None:
    (release / "mine").write_text("kept")
    with pytest.raises(ConflictError, match="it is not empty"):
        sent.open().unpack(release)
    assert [path.name for path in release.iterdir()] == ["mine"]
    with pytest.raises(UnavailableError, match="No such file"):
        sent.open().unpack(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(release)
    with pytest.raises(UnavailableError, match="cannot write"):
        sent.open().unpack(tmp_path / "link")


def test_an_archive_that_is_gone_is_said_to_be_missing(sent: Sent) -> None:
    bundle = sent.open()
    sent.archive.unlink()
    with pytest.raises(NotFoundError, match="there is no such file"):
        sent.open()
    with pytest.raises(NotFoundError, match="there is no such file"):
        bundle.unpack(sent.archive.parent / "bundle" / "bin")


def test_nobody_else_makes_a_verified_bundle(sent: Sent) -> None:
    described = sent.described
    bundle = sent.open()
    with pytest.raises(TypeError, match="made by open_verified alone"):
        VerifiedBundle(object(), sent.archive, described.descriptor, described.manifest, bundle._limits)


def _replace(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _put_fifo(top: Path) -> None:
    (top / "model.onnx").unlink()
    os.mkfifo(top / "model.onnx")


def _put_file(top: Path) -> None:
    shutil.rmtree(top / "bin")
    (top / "bin").touch()


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (lambda top: (top / "model.onnx").write_bytes(b"weight5"), [r"model\.onnx has other content: expected .*"]),
        (lambda top: (top / "model.onnx").unlink(), [r"model\.onnx is missing"]),
        (lambda top: (top / "new").write_text(""), ["new is not named by the descriptor"]),
        (lambda top: (top / "bin" / "go").chmod(0o644), ["bin/go has mode 0644 instead of 0755"]),
        (lambda top: (top / "bin" / "go").chmod(0o555), []),
        (lambda top: (top / "empty").mkdir(), []),
        (lambda top: _replace(top / "latest", "bin/go"), [r"latest links to bin/go instead of model\.onnx"]),
        (lambda top: _replace(top / "model.onnx", "bin/go"), [r"model\.onnx is a link instead of a file"]),
        (lambda top: _replace(top / "latest", "bin"), [r"latest links to bin instead of model\.onnx"]),
        (_put_fifo, [r"model\.onnx is missing"]),
        (_put_file, ["bin is not named .*", "bin/go is missing"]),
        (shutil.rmtree, ["bin/go is missing", "latest .*", r"manifest\.json .*", r"model\.onnx .*"]),
    ],
)
def test_a_damaged_release_is_found(
    spoil: Callable[[Path], object], reasons: list[str], sent: Sent, release: Path
) -> None:
    sent.open().unpack(release)
    spoil(release)
    found = check_release(release, sent.described.descriptor)
    assert len(found) == len(reasons)
    for reason, pattern in zip(found, reasons, strict=True):
        assert re.fullmatch(pattern, reason), reason
