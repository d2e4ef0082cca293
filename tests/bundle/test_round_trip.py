"""Any directory, built, described and unpacked, is itself again; any bytes are a bundle or are refused."""

import io
import os
import tarfile
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.bundle.crafted import END, GOOD, file, head, padded, plain, zst
from tests.fuzz.targets import judge

from kernex.bundle.archive import describe
from kernex.bundle.build import LEFT_OUT, build
from kernex.bundle.verify import check_release, open_verified
from kernex.domain.errors import RejectedError

TURNS = "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # lines and directions
LETTERS = st.characters(exclude_characters=f"/\\{TURNS}", exclude_categories=["Cc", "Cs"])
PARTS = st.text(LETTERS, min_size=1, max_size=20).filter(lambda part: part not in {".", "..", *LEFT_OUT})
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
TREES = st.dictionaries(PATHS, st.tuples(st.binary(max_size=2000), st.booleans()), max_size=8)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lay_out(top: Path, tree: dict[str, tuple[bytes, bool]]) -> None:
    top.mkdir()
    (top / "manifest.json").write_text('{"version": "1.0.0"}')
    for path, (content, executable) in tree.items():
        target = top / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as opened:
                opened.write(content)
        except OSError:  # below a file, or the manifest itself
            assume(False)
        target.chmod(0o755 if executable else 0o644)


@quick
@given(TREES, st.booleans())
def test_a_directory_comes_back_as_it_was(tree: dict[str, tuple[bytes, bool]], linked: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        top, archive, release = Path(scratch, "top"), Path(scratch, "archive"), Path(scratch, "release")
        lay_out(top, tree)
        if tree and linked:
            (top / "a link").symlink_to(min(tree))
        refusal = None
        try:
            built = build(top, archive)
        except RejectedError as error:
            refusal = str(error)
        if refusal is not None:  # two names that some file system takes for one
            assert "only in case or Unicode form" in refusal
            return
        assert describe(archive) == built
        release.mkdir()
        bundle = open_verified(
            archive,
            built.descriptor.encode(),
            digest=built.digest,
            archive_sha256=built.archive_sha256,
            archive_bytes=built.archive_bytes,
        )
        bundle.unpack(release)
        assert check_release(release, built.descriptor) == []
        assert check_release(top, built.descriptor) == []
        for path, (content, executable) in tree.items():
            assert (release / path).read_bytes() == content
            assert os.access(release / path, os.X_OK) == executable


@quick
@given(st.binary(max_size=300))
def test_any_compressed_bytes_are_judge(data: bytes) -> None:
    judge(data)
    judge(b"\x1f\x8b" + data)
    judge(b"\x28\xb5\x2f\xfd" + data)
    judge(zst(GOOD + data + END))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 511), st.binary(min_size=1, max_size=12), st.sampled_from(b"0\x005 2xgLKS17"))
def test_any_header_is_judge(start: int, change: bytes, kind: int) -> None:
    fields = {"at157": b"manifest.json", f"at{start}": change[: 512 - start]}
    judge(zst(GOOD + head(b"d/name", bytes([kind]), 5, **fields) + padded(b"hello") + END))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_change_to_a_good_archive_is_judge(data: st.DataObject) -> None:
    changed = bytearray(plain(file("lib/" + "long" * 40, b"y" * 700), file("größe")))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    judge(zst(bytes(changed)))


MEMBERS = st.tuples(
    st.one_of(PATHS, st.text(max_size=10)),
    st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]),
    st.one_of(PATHS, st.sampled_from(["..", "../x", "/x", ".", "a/../.."])),
    st.integers(0, 0o7777),
)


@quick
@given(st.lists(MEMBERS, max_size=6), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_any_members_are_judge(members: list[tuple[str, bytes, str, int]], form: int) -> None:
    made = []
    for name, kind, target, mode in members:
        content = b"hello" if kind == tarfile.REGTYPE else b""
        made.append(file(name, content, type=kind, linkname=target, mode=mode))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in (file("manifest.json", b'{"version": "1"}'), *made):
            try:
                tar.addfile(info, io.BytesIO(content))
            except UnicodeError:
                assume(False)
    judge(zst(buffer.getvalue()))
