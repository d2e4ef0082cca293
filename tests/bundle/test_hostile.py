"""Archives by somebody who means harm."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.bundle.corpus import END, GOOD, HOSTILE, file, head, link, packed, raw, zst

from kernex.bundle.archive import describe, unpack
from kernex.bundle.descriptor import LinkEntry
from kernex.bundle.limits import LIMITS, Limits
from kernex.bundle.reader import members
from kernex.bundle.streams import opened
from kernex.bundle.target import Target
from kernex.domain.errors import RejectedError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to unpack into, beside something worth destroying."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "keep").write_text("untouched")
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def everything_but(place: Path) -> dict[str, str | None]:
    found = [path for path in place.parent.rglob("*") if place not in (path, *path.parents)]
    return {str(path): path.read_text() if path.is_file() else None for path in found if path.name != "archive"}


def greedily(archive: Path, place: Path) -> None:
    """Unpack without a descriptor to compare with, so that only the reader and the target stand in the way."""
    with opened(archive, LIMITS) as stream, Target(place) as target:
        for member in members(stream, LIMITS):
            if isinstance(member, LinkEntry):
                target.link(member.path, member.target)
                continue
            with target.create(member.path, member.mode) as write:
                for piece in member.pieces:
                    write(piece)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(30)
def test_a_hostile_archive_is_refused_and_nothing_is_written_outside(name: str, place: Path) -> None:
    make, words = HOSTILE[name]
    archive = place.parent / "archive"
    archive.write_bytes(make())
    before = everything_but(place)
    with pytest.raises(RejectedError, match=words) as refusal:
        describe(archive)
    assert str(refusal.value).startswith("cannot ")
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in str(refusal.value))
    assert list(place.iterdir()) == []
    with pytest.raises(RejectedError, match=words):
        greedily(archive, place)
    assert everything_but(place) == before
    assert not any(path.is_symlink() for path in place.rglob("*")), "links are made last, after all were judged"


def test_the_corpus_is_large() -> None:
    assert len(HOSTILE) >= 60


def test_the_frame_of_the_corpus_is_a_good_archive(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    for good in (zst(GOOD + END), raw(head(b"a")), packed(file("a"))):
        archive.write_bytes(good)
        assert describe(archive).manifest.version == "1.0.0"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(file_bytes=99), "larger than 99 bytes"),
        (Limits(installed_bytes=199), "larger than 199 bytes together"),
        (Limits(members=2), "more than 2 headers"),
        (Limits(members=6), "more than 6 names"),
        (Limits(names_bytes=13), "names take more than 13 bytes"),
        (Limits(names_bytes=45), "names take more than 45 bytes"),
        (Limits(window_bytes=1024), "damaged .*too much memory"),
        (Limits(descriptor_bytes=100), "descriptor is larger than 100 bytes"),
        (Limits(manifest_bytes=10), r"manifest.json is larger than 10 bytes"),
        (Limits(ratio_free_bytes=1000, ratio=2), "more than 2 times its size"),
    ],
)
def test_every_limit_holds(limits: Limits, words: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(packed(file("a", b"a" * 100), file("1/2/3/4/b", b"b" * 100), link("l", "t" * 9)))
    describe(archive)
    with pytest.raises(RejectedError, match=words):
        describe(archive, limits=limits)


def test_an_unpacked_file_cannot_replace_one_that_somebody_put_there(place: Path) -> None:
    with Target(place) as target:
        (place / "a").symlink_to(place.parent / "victim" / "keep")
        (place / "d").symlink_to(place.parent / "victim")
        for path in ("a", "d/keep", "d/new"):
            with pytest.raises(Exception, match="cannot write"), target.create(path, 0o644) as write:
                write(b"evil")
        with pytest.raises(Exception, match="cannot write"):
            target.link("d/link", "keep")
    assert everything_but(place)[str(place.parent / "victim" / "keep")] == "untouched"
    assert sorted(path.name for path in (place.parent / "victim").iterdir()) == ["keep"]


def test_content_that_nobody_reads_is_passed_over(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(packed(file("a", b"a" * 10_000), file("b", b"b" * 512), file("c")))
    with opened(archive, LIMITS) as stream:
        assert [member.path for member in members(stream, LIMITS)] == ["manifest.json", "a", "b", "c"]


MEASURE = """
import resource, sys
from pathlib import Path
from kernex.bundle.archive import describe, unpack
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
archive, place = map(Path, sys.argv[1:])
small = archive.with_name("small")
describe(small)
before = peak()
unpack(archive, place, describe(archive).descriptor)
print(peak() - before)
"""


def test_a_large_file_passes_through_little_memory(place: Path) -> None:
    archive = place.parent / "archive"
    archive.with_name("small").write_bytes(zst(GOOD + END))
    piece = bytes(range(256)) * 4096
    archive.write_bytes(raw(head(b"big", size=60 * len(piece)), piece * 60))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(archive), str(place)], capture_output=True, text=True, check=True
    )
    assert (place / "big").stat().st_size == 60 * len(piece)
    assert int(run.stdout) < 24 * 1024, "KiB more than for a bundle of a kilobyte"


def test_what_changed_since_it_was_described_is_found_while_it_is_unpacked(place: Path) -> None:
    archive = place.parent / "archive"
    archive.write_bytes(packed(file("a", b"good"), link("l", "a")))
    expected = describe(archive).descriptor
    for changed, words in (
        (packed(file("a", b"good"), link("l", "b")), "l links to b instead of a"),
        (packed(file("a", b"good"), file("l")), "l is a file instead of a link"),
        (packed(file("a", b"good")), "l is missing"),
        (packed(file("a", b"good"), link("l", "a"), link("m", "a")), "m is not named by the descriptor"),
        (packed(file("a", b"evil")), "a has other content: expected [0-9a-f]{12}…, found [0-9a-f]{12}…"),
        (packed(file("a", b"longer")), "a has 6 bytes instead of 4"),
        (packed(file("a", b"good", mode=0o755)), "a has mode 0755 instead of 0644"),
        (packed(file("a", b"good"), file("b")), "b is not named by the descriptor"),
        (packed(), "a is missing"),
    ):
        archive.write_bytes(changed)
        with pytest.raises(RejectedError, match=words):
            unpack(archive, fresh(place), expected)


def fresh(place: Path) -> Path:
    number = len(list(place.iterdir()))
    (place / str(number)).mkdir()
    return place / str(number)
