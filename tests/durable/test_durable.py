"""Writes that are there or not there: under readers, under SIGKILL, over leftovers."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from kernex import durable


def temporaries(directory: Path) -> list[Path]:
    return list(directory.glob(".*.new"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def system_calls(act: Callable[[], None]) -> list[str]:
    """The names of the os functions that really ran, in their order."""
    seen: list[str] = []

    def watch(frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__module__", "") == "posix":
            seen.append(getattr(called, "__name__", ""))

    sys.setprofile(watch)
    try:
        act()
    finally:
        sys.setprofile(None)
    return [name for name in seen if name in {"open", "fsync", "replace", "symlink", "unlink", "mkdir"}]


def test_what_was_written_is_there_and_no_temporary_is(tmp_path: Path) -> None:
    target = tmp_path / "identity.key"
    durable.write(target, b"old")
    durable.write(target, b"new")
    assert target.read_bytes() == b"new"
    assert temporaries(tmp_path) == []


def test_the_file_is_synced_before_it_gets_its_name_and_the_directory_after(tmp_path: Path) -> None:
    """The two fsyncs whose absence leaves an empty file, or the old name, after power loss."""
    calls = system_calls(lambda: durable.write(tmp_path / "file", b"data"))
    assert calls == ["unlink", "open", "fsync", "replace", "open", "fsync"]


def test_all_bytes_are_in_the_file_when_it_is_synced(tmp_path: Path) -> None:
    """Bytes that were still in a buffer of the program would be synced by nobody."""
    sizes: list[int] = []

    def watch(frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and called is os.fsync:
            sizes.extend(path.stat().st_size for path in temporaries(tmp_path))

    sys.setprofile(watch)
    try:
        durable.write(tmp_path / "file", b"a few bytes")
    finally:
        sys.setprofile(None)
    assert sizes == [len(b"a few bytes")]


def test_a_link_is_swapped_by_one_rename_that_is_synced(tmp_path: Path) -> None:
    calls = system_calls(lambda: durable.point(tmp_path / "current", "releases/a"))
    assert calls == ["unlink", "symlink", "replace", "open", "fsync"]


def test_a_reader_sees_the_old_bytes_or_the_new_ones_and_never_a_mixture(tmp_path: Path) -> None:
    target = tmp_path / "file"
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    durable.write(target, contents[0])
    stop = threading.Event()

    def rewrite() -> None:
        for turn in range(200):
            durable.write(target, contents[turn % 2])
        stop.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    reads = 0
    while not stop.is_set():
        assert target.read_bytes() in contents
        reads += 1
    writer.join()
    assert reads > 10


def test_a_link_always_leads_somewhere(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    durable.point(tmp_path / "current", "a")
    stop = threading.Event()

    def swap() -> None:
        for turn in range(200):
            durable.point(tmp_path / "current", "ab"[turn % 2])
        stop.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    while not stop.is_set():
        seen.add((tmp_path / "current" / "name").read_text())
    swapper.join()
    assert seen <= {"a", "b"}
    assert str((tmp_path / "current").readlink()) == "b"


ENDLESS = """
import sys
from pathlib import Path
from kernex import durable
target = Path(sys.argv[1])
contents = [b"a" * 300_000, b"b" * 300_000]
print("ready", flush=True)
turn = 0
while True:
    durable.write(target, contents[turn % 2])
    turn += 1
"""


def test_a_writer_that_is_killed_at_any_moment_leaves_whole_bytes(tmp_path: Path) -> None:
    target = tmp_path / "file"
    durable.write(target, b"a" * 300_000)
    interrupted = 0
    for turn in range(12):
        with subprocess.Popen([sys.executable, "-c", ENDLESS, str(target)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.001 * turn)
            writer.send_signal(signal.SIGKILL)
        interrupted += bool(temporaries(tmp_path))
        assert target.read_bytes() in (b"a" * 300_000, b"b" * 300_000)
    durable.write(target, b"after the crashes")
    assert target.read_bytes() == b"after the crashes"
    assert temporaries(tmp_path) == []
    assert interrupted, "no kill hit a write: the test proves nothing"


TOO_LARGE = """
import resource, sys
from pathlib import Path
from kernex import durable
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    durable.write(Path(sys.argv[1]), b"n" * 5000)
except OSError as error:
    sys.exit(str(error))
"""


def test_a_write_that_fails_half_way_leaves_the_old_bytes(tmp_path: Path) -> None:
    target = tmp_path / "file"
    durable.write(target, b"old")
    failed = subprocess.run([sys.executable, "-c", TOO_LARGE, str(target)], capture_output=True, text=True, check=False)
    assert "File too large" in failed.stderr
    assert target.read_bytes() == b"old"
    durable.write(target, b"new")
    assert target.read_bytes() == b"new"


def test_the_leftover_of_a_crash_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    leftover = tmp_path / ".file.new"
    leftover.write_bytes(b"half a wri")
    leftover.chmod(0o666)
    durable.write(target, b"whole", mode=0o600)
    assert target.read_bytes() == b"whole"
    assert mode_of(target) == 0o600


def test_a_link_in_place_of_the_leftover_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".file.new").symlink_to(victim)
    durable.write(tmp_path / "file", b"data")
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "file").is_symlink()


def test_a_leftover_link_is_replaced_too(tmp_path: Path) -> None:
    (tmp_path / ".current.new").symlink_to("nowhere")
    durable.point(tmp_path / "current", "releases/a")
    assert str((tmp_path / "current").readlink()) == "releases/a"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_file_has_its_mode_from_its_first_byte_on(tmp_path: Path, mode: int) -> None:
    before = os.umask(0)
    try:
        durable.write(tmp_path / "file", b"data", mode=mode)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "file") == mode


def test_a_secret_is_for_its_owner_alone_unless_said_otherwise(tmp_path: Path) -> None:
    durable.write(tmp_path / "identity.key", b"secret")
    durable.make_directory(tmp_path / "state" / "trust")
    assert mode_of(tmp_path / "identity.key") == 0o600
    assert mode_of(tmp_path / "state") == mode_of(tmp_path / "state" / "trust") == 0o700


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    (tmp_path / "there").chmod(0o755)
    durable.make_directory(tmp_path / "there" / "below")
    assert mode_of(tmp_path / "there") == 0o755


def test_every_new_directory_is_synced_into_the_one_above(tmp_path: Path) -> None:
    calls = system_calls(lambda: durable.make_directory(tmp_path / "a" / "b"))
    assert calls == ["mkdir", "open", "fsync"] * 2


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    durable.write(tmp_path / "file", b"data")
    durable.remove(tmp_path / "file")
    durable.remove(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_tree_is_synced_file_by_file_and_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for path in ("one", "inner/two"):
        (tmp_path / path).write_bytes(b"data")
    (tmp_path / "inner" / "away").symlink_to("/nowhere/at/all")
    calls = system_calls(lambda: durable.sync_tree(tmp_path))
    assert calls.count("fsync") == 4  # two files, two directories


def test_writing_into_a_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.write(tmp_path / "missing" / "file", b"data")
