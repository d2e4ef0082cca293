"""Archives by somebody who means harm."""

import hashlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from benchmarks._figures import Figure
from tests.bundle.confined import Cell
from tests.bundle.corpus import HOSTILE
from tests.bundle.crafted import END, GOOD, file, head, link, packed, raw, zst
from tests.figures import record

from kernex.bundle.archive import describe, unpack
from kernex.bundle.limits import LIMITS, Limits
from kernex.bundle.reader import members
from kernex.bundle.streams import opened
from kernex.bundle.target import Target
from kernex.domain.errors import RejectedError


@dataclass(slots=True)
class Tally:
    """What the whole corpus comes to."""

    refused: set[str] = field(default_factory=set)
    escaped: set[str] = field(default_factory=set)
    seen: dict[bytes, str] = field(default_factory=dict)  # by SHA-256
    cpu_s: float = 0.0
    peak_mb: float = 0.0

    def figures(self) -> Iterator[Figure]:
        yield Figure(
            name="archives",
            value=len(self.refused),
            unit="hostile archives refused",
            compared_with=f"{len(HOSTILE)} hostile archives",
            ratio=len(self.refused) / len(HOSTILE),
            target=">= 200, 0 escapes",
            met=200 <= len(HOSTILE) == len(self.refused) and not self.escaped,
        )
        yield Figure(name="archives: slowest", value=self.cpu_s, unit="s", target="< 2 s", met=self.cpu_s < 2)
        yield Figure(name="archives: memory", value=self.peak_mb, unit="MB", target="< 256 MB", met=self.peak_mb < 256)


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    with Cell.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    tally = Tally()
    yield tally
    if set(tally.seen.values()) == HOSTILE.keys():
        record("crash", tally.figures())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to unpack into, beside something worth destroying."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "keep").write_text("untouched")
    (tmp_path / "victim" / "link").symlink_to("keep")
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def around(place: Path) -> dict[str, tuple[object, ...]]:
    """Everything near `place` but what is in it: kind, modes, owners, links to it, times, content."""
    found = {}
    for path in (place.parent, *sorted(place.parent.rglob("*"))):
        if place in path.parents or path.name == "archive":
            continue
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        changed = None if path == place else status.st_mtime_ns
        owner = (status.st_uid, status.st_gid)
        found[str(path)] = (status.st_mode, owner, status.st_ino, status.st_nlink * path.is_file(), changed, content)
    return {**found, "elsewhere": (Path("/tmp/kernex-pwn").exists(),)}


def strange(place: Path) -> list[Path]:
    """What nothing that is unpacked may be: a device, a second name of a file, a link that leads out."""
    return [path for path in place.rglob("*") if not _harmless(path, path.lstat(), place)]


def _harmless(path: Path, status: os.stat_result, place: Path) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return path.resolve().is_relative_to(place.resolve())
    if stat.S_ISREG(status.st_mode):
        return status.st_nlink == 1 and stat.S_IMODE(status.st_mode) in {0o600, 0o644, 0o755}
    return status.st_mode == stat.S_IFDIR | 0o755


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_time_and_changes_nothing_outside(
    name: str, place: Path, cell: Cell, tally: Tally
) -> None:
    make, words = HOSTILE[name]
    archive = place.parent / "archive"
    archive.write_bytes(data := make())
    assert tally.seen.setdefault(hashlib.sha256(data).digest(), name) == name, "is the same archive"
    before = around(place)
    described = cell.run("describe", archive, place)
    assert list(place.iterdir()) == []
    promised = cell.run("unpack as promised", archive, fresh(place))
    greedy = cell.run("unpack greedily", archive, fresh(place))
    if around(place) != before or strange(place):
        tally.escaped.add(name)
    assert around(place) == before
    assert strange(place) == []
    assert not (greedy.refused and any(path.is_symlink() for path in place.rglob("*"))), "links come last of all"
    tally.cpu_s = max(tally.cpu_s, described.cpu_s, promised.cpu_s, greedy.cpu_s)
    tally.peak_mb = max(tally.peak_mb, described.peak_mb, promised.peak_mb, greedy.peak_mb)
    for outcome in (described, promised, greedy):
        assert outcome.died == ""
    assert described.refused, described.said
    assert promised.refused, promised.said
    assert re.search(words, described.said), described.said
    assert described.said.startswith("cannot ")
    assert described.said.isprintable()
    tally.refused.add(name)


def test_the_corpus_is_large() -> None:
    assert len(HOSTILE) >= 200


@pytest.mark.parametrize("name", ["dot_dot", "link_up_then_write", "hard_link_up", "link_then_directory"])
def test_whoever_trusts_an_archive_is_found_out(name: str, place: Path, cell: Cell) -> None:
    archive = place.parent / "archive"
    archive.write_bytes(zstandard.decompress(HOSTILE[name][0](), max_output_size=1 << 20))
    before = around(place)
    assert cell.run("trust", archive, place).died == ""
    assert around(place) != before


def test_whatever_takes_too_long_or_too_much_is_stopped(place: Path, cell: Cell) -> None:
    assert cell.run("never end", place, place).died == "SIGXCPU"
    assert cell.run("grow", place, place).died == "SIGUSR1"
    assert cell.run("describe", place, place).died == "exit 1", "a directory is no archive: the reader does not look"


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
    assert (place.parent / "victim" / "keep").read_text() == "untouched"
    assert sorted(path.name for path in (place.parent / "victim").iterdir()) == ["keep", "link"]


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
