"""Room on the disk: asked for, reserved, held back, and what is kept in it."""

import errno
import os
from pathlib import Path

import pytest
from tests.state import mounts

from kernex.agent import space
from kernex.agent.__main__ import main
from kernex.agent.apps import App, Apps
from kernex.agent.space import Ballast, Need
from kernex.domain.bundle import Digest
from kernex.domain.errors import NotFoundError, RejectedError

A, B, C, D = (Digest(letter * 64) for letter in "abcd")
MIB = 1 << 20


def free(where: Path) -> int:
    found = os.statvfs(where)
    return found.f_bavail * found.f_frsize


def test_needs_on_one_file_system_are_added_up(tmp_path: Path) -> None:
    with mounts.small(tmp_path / "disk", "4m", 100) as disk:
        (disk / "apps").mkdir()
        both = [Need(disk, MIB, 1), Need(disk / "apps", 2 * MIB, 1)]
        space.preflight("install it", both, margin_bytes=0)
        with pytest.raises(RejectedError, match=r"cannot install it: \d+ bytes are free, \d+ are needed; free space"):
            space.preflight("install it", [*both, Need(disk, MIB, 0)], margin_bytes=0)
        with pytest.raises(RejectedError, match="bytes are free"):
            space.preflight("install it", both, margin_bytes=MIB)
        with pytest.raises(RejectedError, match=r"cannot install it: \d+ inodes are free, 132 are needed"):
            space.preflight("install it", [Need(disk, 0, 100)], margin_bytes=0)
        elsewhere = Need(tmp_path, 2 * MIB, 200)
        space.preflight("install it", [*both, elsewhere], margin_bytes=0)


def test_what_is_reserved_is_gone_for_others_and_no_byte_longer(tmp_path: Path) -> None:
    with mounts.small(tmp_path / "disk", "4m", 100) as disk:
        part = disk / "part"
        with part.open("wb") as file:
            file.write(b"begun")
            file.flush()
            space.reserve(file.fileno(), 3 * MIB)
            assert part.stat().st_size == len(b"begun")
            mounts.fill(disk)
            assert free(disk) == 0
            file.write(bytes(2 * MIB))
            file.flush()
            file.truncate(0)  # not needed any more
            assert free(disk) >= 3 * MIB
            with pytest.raises(OSError, match="No space") as caught:
                space.reserve(file.fileno(), 5 * MIB)
            assert space.full(caught.value)


def test_a_file_system_that_reserves_nothing_is_no_error() -> None:
    reader, writer = os.pipe()  # answers as one that cannot
    space.reserve(writer, MIB)
    os.close(reader)
    os.close(writer)


def test_a_ballast_is_kept_given_up_and_made_again(tmp_path: Path) -> None:
    with mounts.small(tmp_path / "disk", "4m", 100) as disk:
        ballast = Ballast(disk / "ballast", MIB, margin_bytes=MIB)
        before = os.statvfs(disk)
        ballast.keep()
        after = os.statvfs(disk)
        assert (before.f_bavail - after.f_bavail) * after.f_frsize >= MIB
        assert before.f_favail - after.f_favail >= 8
        made = [piece.stat() for piece in sorted(ballast.path.iterdir())]
        ballast.keep()
        assert [piece.stat() for piece in sorted(ballast.path.iterdir())] == made, "it was made anew for nothing"
        filler = mounts.fill(disk)
        assert ballast.give_up()
        assert free(disk) >= MIB
        assert not ballast.give_up()
        ballast.keep()
        assert list(ballast.path.iterdir()) == [], "the disk is as full as before"
        filler.unlink()
        ballast.keep()
        assert sum(piece.stat().st_size for piece in ballast.path.iterdir()) == MIB
        Ballast(disk / "ballast", 0, margin_bytes=0).keep()
        assert list(ballast.path.iterdir()) == [], "its owner does without"


def test_a_half_ballast_is_made_whole(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 4096, margin_bytes=0)
    ballast.keep()
    (ballast.path / "3").write_bytes(b"")
    ballast.keep()
    assert sorted(piece.stat().st_size for piece in ballast.path.iterdir()) == [512] * 8


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_ballast_is_spent_once_and_on_a_full_disk_only(tmp_path: Path, code: int) -> None:
    ballast = Ballast(tmp_path / "ballast", 4096, margin_bytes=0)
    done = []

    def fails(number: int, times: int) -> str:
        done.append(number)
        if len(done) <= times:
            raise OSError(number, os.strerror(number))
        return "done"

    ballast.keep()
    assert ballast.spend_on(lambda: fails(code, 1)) == "done"
    assert list(ballast.path.iterdir()) == []
    done.clear()
    with pytest.raises(OSError, match=os.strerror(code)):
        ballast.spend_on(lambda: fails(code, 1))
    assert len(done) == 1, "there was nothing to give up"
    ballast.keep()
    done.clear()
    with pytest.raises(PermissionError):
        ballast.spend_on(lambda: fails(errno.EACCES, 1))
    assert len(list(ballast.path.iterdir())) == 8


@pytest.fixture
def app(tmp_path: Path) -> App:
    """Stands on A, came from B; C and D lie there."""
    app = Apps(tmp_path / "apps")["vad"]
    app.prepare()
    for digest in (A, B, C, D):
        app.release(digest).mkdir()
        app.descriptor(digest).touch()
    app.stand_on(A)
    app.remember(B)
    return app


def kept(app: App) -> set[str]:
    return {path.name for path in app.releases.iterdir()} if app.releases.is_dir() else set()


def both(*digests: Digest) -> set[str]:
    return {*digests, *(f"{digest}.json" for digest in digests)}


def test_current_previous_and_pinned_releases_are_kept(app: App) -> None:
    app.pin(C)
    app.collect()
    assert kept(app) == both(A, B, C)
    app.unpin(C)
    app.unpin(C)
    app.collect()
    assert kept(app) == both(A, B)


def test_an_owner_pins_by_hand(app: App) -> None:
    state = app.root.parent.parent
    here = ["--state-dir", str(state)]
    assert main(["pin", "vad", "cc", *here]) == 0
    assert app.pinned == {C}
    assert main(["pin", "vad", "f", *here]) == 1
    assert main(["unpin", "vad", C, *here]) == 0
    assert app.pinned == frozenset()


def test_a_pin_outlives_the_app_that_stands_on_nothing(app: App) -> None:
    app.pin(C)
    app.stand_on(None)
    app.remember(None)
    app.collect()
    assert kept(app) == both(C)
    app.unpin(C)
    app.collect()
    assert not app.root.exists()


def test_only_a_release_that_is_there_is_pinned_and_other_names_mean_nothing(app: App) -> None:
    with pytest.raises(NotFoundError, match=r"cannot pin e+ of vad: there is no such release here"):
        app.pin(Digest("e" * 64))
    with pytest.raises(NotFoundError, match="0 begin so"):
        app.find("e")
    with pytest.raises(NotFoundError, match="4 begin so"):
        app.find("")
    (app.root / "pins" / "README").touch()
    app.collect()
    assert app.pinned == frozenset()
    assert kept(app) == both(A, B)
