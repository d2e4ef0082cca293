"""A disk that is full, of bytes or of inodes: on a real file system that is."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.agent import bundles
from tests.agent.bundles import Bundle
from tests.agent.devices import eventually
from tests.agent.fake_control_plane import FakeControlPlane
from tests.state import mounts, releases
from tests.state.lives import Mother, Subject

from kernex.agent.install.journal import Journal
from kernex.domain.errors import UnavailableError
from kernex.domain.install import Phase

BALLAST = 256 << 10
BIG = bundles.release("2.0.0", files={"model.bin": os.urandom(3 << 20)})
MANY = bundles.release("2.0.0", files={f"part/{number}": b"" for number in range(380)})
#: Hardly anything to fetch, much to write.
BLOWN_UP = bundles.release("2.0.0", files={"model.bin": bytes(12 << 20)})


@pytest.fixture
def subject(
    fake: FakeControlPlane, mother: Mother, private_key: bytes, tmp_path: Path, in_use: dict[Bundle, Path]
) -> Iterator[Subject]:
    """A device with a small disk, on which a good release runs."""
    with mounts.small(tmp_path / "disk", "8m", 400) as disk:
        subject = Subject.enrolled(disk / "device", fake, mother, private_key, counts=tmp_path / "counts")
        subject.settle(ballast_bytes=BALLAST, disk_margin_bytes=1 << 20)
        subject.take_over(in_use[releases.SUPERVISED])
        yield subject
        assert not subject.device.left(), "a process outlived its agent"


def ballast(subject: Subject) -> int:
    """Bytes that are held back."""
    there = subject.device.state.ballast
    return sum(piece.stat().st_size for piece in there.iterdir()) if there.is_dir() else 0


def fetched(subject: Subject) -> list[str]:
    return [route for route, _ in subject.fake.requests if route == "archive"]


def check_untouched(subject: Subject) -> None:
    assert subject.device.app().current == releases.SUPERVISED.digest
    assert subject.untold() == []
    subject.check_whole()


@pytest.mark.parametrize("bundle", [BIG, BLOWN_UP], ids=["archive too large", "release too large"])
def test_what_does_not_fit_is_refused_before_its_first_byte(subject: Subject, bundle: Bundle) -> None:
    mounts.fill(subject.device.state.root.parent, leave=2 << 20)
    outcome = subject.lives(subject.fake.offer(bundle))
    assert outcome.phase is Phase.FAILED
    assert "bytes are free" in (outcome.error or "")
    assert fetched(subject) == []
    check_untouched(subject)


def test_what_has_too_many_files_is_refused_before_its_first_byte(subject: Subject) -> None:
    outcome = subject.lives(subject.fake.offer(MANY))
    assert outcome.phase is Phase.FAILED
    assert "inodes are free" in (outcome.error or "")
    assert fetched(subject) == []
    check_untouched(subject)


def test_on_a_disk_without_a_byte_the_outcome_is_written_and_told(subject: Subject) -> None:
    with subject.life():  # has its ballast from now on
        pass
    disk = subject.device.state.root.parent
    assert ballast(subject) == BALLAST
    filler = mounts.fill(disk)
    deployment = subject.fake.offer(bundles.release("2.0.0"))
    outcome = subject.lives(deployment)
    assert outcome.phase is Phase.FAILED
    assert ballast(subject) == 0, "it was not needed: this proves nothing"
    check_untouched(subject)
    filler.unlink()
    assert subject.lives(subject.fake.offer(bundles.release("3.0.0"))).phase is Phase.SUCCEEDED
    assert ballast(subject) == BALLAST, "there is room for it again"


def test_a_release_that_fills_the_disk_is_put_back_all_the_same(subject: Subject) -> None:
    """Its deploy script leaves not a byte; then it fails."""
    with subject.life():
        pass
    greedy = 'cat /dev/zero > "$KERNEX_DATA/greed" 2> /dev/null || true; exit 1'
    outcome = subject.lives(subject.fake.offer(bundles.release("2.0.0", deploy=greedy)))
    assert outcome.phase is Phase.ROLLED_BACK
    assert (outcome.error or "").startswith("deploy script 'deploy.sh' failed"), outcome.error
    assert "then" not in (outcome.error or "")
    check_untouched(subject)


def test_what_is_being_fetched_has_its_place(subject: Subject) -> None:
    """Somebody fills the disk while the archive is on its way: it arrives, and is found to have no room to unpack."""

    def fill(handler: object) -> bool:
        mounts.fill(subject.device.state.root.parent)
        return True

    subject.fake.faults["archive"] = [fill]
    deployment = subject.fake.offer(bundles.release("2.0.0", files={"model.bin": os.urandom(1 << 20)}))
    outcome = subject.lives(deployment)
    assert outcome.phase is Phase.FAILED
    assert (subject.entered(Phase.VERIFYING), subject.entered(Phase.STAGING)) == (1, 1), outcome.error
    assert (outcome.error or "").startswith("cannot "), outcome.error
    check_untouched(subject)


def test_a_workload_starts_with_its_agent_on_a_full_disk(subject: Subject) -> None:
    """Also after a kill, when the journal lies open and asks for no more room."""
    with closing(Journal(subject.device.state.journal)) as journal:
        for one in journal.probations.all():
            journal.probations.end(one.deployment_id)
    with subject.life(once=False) as life:
        assert eventually(lambda: len(subject.device.left()) > 0)
        life.kill()
    mounts.fill(subject.device.state.root.parent)
    subject.fake.heartbeats.clear()
    with subject.life(once=False):
        assert eventually(
            lambda: any(app.state == "running" for beat in subject.fake.heartbeats for app in beat.apps or [])
        )
        assert eventually(lambda: len(subject.device.left()) > 0)


def test_without_a_ballast_the_journal_cannot_even_be_opened(subject: Subject) -> None:
    """The control: what the ballast is for."""
    journal = subject.device.state.journal
    filler = mounts.fill(journal.parent.parent)
    with pytest.raises(UnavailableError, match="free space"):
        Journal(journal)
    filler.unlink()
    with closing(Journal(journal)) as opened:
        assert opened.unfinished() is None


def test_inodes_that_ran_out_stop_no_restore(subject: Subject) -> None:
    with subject.life():
        pass
    crowding = 'i=0; while : > "$KERNEX_DATA/crowd-$i"; do i=$((i+1)); done 2> /dev/null; exit 1'
    outcome = subject.lives(subject.fake.offer(bundles.release("2.0.0", deploy=crowding)))
    assert outcome.phase is Phase.ROLLED_BACK, outcome.error
    check_untouched(subject)
