"""Devices without a clock that can be trusted: 1970, 2099, and one that jumps a day back in the middle of it.

The agents' processes run under libfaketime. TLS, which cannot do without a clock, is not in play.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent import bundles
from tests.agent.devices import eventually
from tests.state import releases
from tests.state.lives import LOG, Mother, Subject

from kernex.domain.install import Phase

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
CLOCKS = {"1970": "@1970-01-01 00:00:10", "2099": "@2099-12-31 23:59:30", "a day back": "+0"}
LATER = {"1970": "@2026-01-01 00:00:00", "2099": "@1970-01-01 00:00:00", "a day back": "-1d"}
ENDS = {
    Phase.SUCCEEDED: bundles.release("2.0.0"),
    Phase.FAILED: bundles.release("2.0.0", requires={"arch": "riscv128"}),
    Phase.ROLLED_BACK: bundles.release("2.0.0", probe=bundles.FAILING),
}
every_clock = pytest.mark.parametrize("clock", CLOCKS)


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is written here is the time."""
    return tmp_path_factory.mktemp("clock") / "now"


@pytest.fixture(scope="module")
def mother(now: Path) -> Iterator[Mother]:
    """Of lives that believe in `now`."""
    if LIBRARY is None:
        assert os.environ.get("CI") != "true", "cannot fake the time: run scripts/system-packages"
        pytest.skip("needs libfaketime: scripts/system-packages")
    now.write_text("+0")
    settings = {"FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Mother.started(LD_PRELOAD=str(LIBRARY), TZ="UTC", **settings) as started:
        yield started


@every_clock
@pytest.mark.parametrize("ends", ENDS)
def test_an_install_ends_as_it_would_at_any_other_time(subject: Subject, now: Path, clock: str, ends: Phase) -> None:
    now.write_text(CLOCKS[clock])
    subject.installed(releases.SCRIPTS)
    deployment = subject.fake.offer(ENDS[ends])

    def jump(handler: object) -> bool:
        now.write_text(LATER[clock])
        return True

    if clock == "a day back":
        subject.fake.faults["archive"] = [jump]
    assert subject.lives(deployment).phase is ends
    assert subject.untold() == []
    check_faked(subject, clock)
    subject.check_whole()


@every_clock
def test_a_jump_of_the_clock_ends_no_probation(subject: Subject, now: Path, clock: str) -> None:
    """Three falls within it are three falls, in whatever years."""
    now.write_text(CLOCKS[clock])
    subject.settle(probation_s=600.0)
    deployment = subject.fake.offer(bundles.release("1.0.0", run=releases.FALLS))
    with subject.life(once=False):
        assert subject.fake.outcome(deployment).phase is Phase.SUCCEEDED
        now.write_text(LATER[clock])
        (subject.device.app().data / "told").touch()
        assert eventually(lambda: subject.fake.outcomes[deployment].phase is Phase.ROLLED_BACK)
    check_faked(subject, clock)


def check_faked(subject: Subject, clock: str) -> None:
    """The log says when."""
    days = [line[:10] for line in (subject.counts / LOG).read_text().splitlines()]
    if clock == "a day back":
        assert days[-1] < days[0], days
    else:
        assert days[0][:4] == clock, days
