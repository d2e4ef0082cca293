"""What becomes of an install, whatever happens in whatever phase: the table, and one row a test.

After the state cases of Mender's client: killed in, error in and hang in every phase.
"""

import itertools
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.agent.bundles import Bundle
from tests.agent.devices import eventually
from tests.agent.fake_control_plane import slowly
from tests.state import releases
from tests.state.lives import Fault, Subject, Trouble

from kernex.domain.install import MAX_TRIES, Phase

DOWNLOADING, VERIFYING, STAGING = Phase.DOWNLOADING, Phase.VERIFYING, Phase.STAGING
ACTIVATING, PROBING, COMMITTING, RESTORING = Phase.ACTIVATING, Phase.PROBING, Phase.COMMITTING, Phase.RESTORING
SUCCEEDED, FAILED, ROLLED_BACK, BROKEN = Phase.SUCCEEDED, Phase.FAILED, Phase.ROLLED_BACK, Phase.BROKEN
BEFORE, AFTER, EACH_TIME = Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.KILLED_EACH_TIME
ERROR, HANG = Fault.ERROR, Fault.HANG
BAD_PROBE = "probe failed: speech 0 (needs >=0.8)"


class Case(NamedTuple):
    """In this phase this happens: so it ends, after so many entries of the phase, and this is said of it."""

    phase: Phase
    fault: Fault
    ends: Phase
    entries: int
    says: str | None = None


CASES = [
    Case(DOWNLOADING, BEFORE, SUCCEEDED, 2),
    Case(DOWNLOADING, AFTER, SUCCEEDED, 2),
    Case(DOWNLOADING, EACH_TIME, FAILED, 3, "cannot get through downloading: tried 3 times"),
    Case(DOWNLOADING, ERROR, FAILED, 1, "cannot go through downloading today"),
    Case(DOWNLOADING, HANG, FAILED, 1, "cannot reach"),
    #
    Case(VERIFYING, BEFORE, SUCCEEDED, 2),
    Case(VERIFYING, AFTER, SUCCEEDED, 2),
    Case(VERIFYING, EACH_TIME, FAILED, 3, "cannot get through verifying: tried 3 times"),
    Case(VERIFYING, ERROR, FAILED, 1, "cannot go through verifying today"),
    Case(VERIFYING, HANG, SUCCEEDED, 2),  # a disk that answers no more: the device's watchdog ends it
    #
    Case(STAGING, BEFORE, SUCCEEDED, 2),
    Case(STAGING, AFTER, SUCCEEDED, 2),
    Case(STAGING, EACH_TIME, FAILED, 3, "cannot get through staging: tried 3 times"),
    Case(STAGING, ERROR, FAILED, 1, "cannot go through staging today"),
    Case(STAGING, HANG, SUCCEEDED, 2),
    #
    Case(ACTIVATING, BEFORE, SUCCEEDED, 2),
    Case(ACTIVATING, AFTER, SUCCEEDED, 2),
    Case(ACTIVATING, EACH_TIME, ROLLED_BACK, 3, "cannot get through activating: tried 3 times"),
    Case(ACTIVATING, ERROR, ROLLED_BACK, 1, "cannot go through activating today"),
    Case(ACTIVATING, HANG, ROLLED_BACK, 1, "cannot wait longer for the deploy script"),
    #
    Case(PROBING, BEFORE, SUCCEEDED, 2),
    Case(PROBING, AFTER, SUCCEEDED, 2),
    Case(PROBING, EACH_TIME, ROLLED_BACK, 3, "cannot get through probing: tried 3 times"),
    Case(PROBING, ERROR, ROLLED_BACK, 1, "cannot go through probing today"),
    Case(PROBING, HANG, ROLLED_BACK, 1, "probe failed: cannot wait longer for the probe"),
    #
    Case(COMMITTING, BEFORE, SUCCEEDED, 2),
    Case(COMMITTING, AFTER, SUCCEEDED, 2),
    Case(COMMITTING, EACH_TIME, ROLLED_BACK, 3, "cannot get through committing: tried 3 times"),
    Case(COMMITTING, ERROR, ROLLED_BACK, 1, "cannot go through committing today"),
    Case(COMMITTING, HANG, SUCCEEDED, 2),
    #
    Case(RESTORING, BEFORE, ROLLED_BACK, 2, BAD_PROBE),
    Case(RESTORING, AFTER, ROLLED_BACK, 2, BAD_PROBE),
    Case(RESTORING, EACH_TIME, BROKEN, 3, f"{BAD_PROBE}; then cannot get through restoring: tried 3 times"),
    Case(RESTORING, ERROR, BROKEN, 1, f"{BAD_PROBE}; then cannot go through restoring today"),
    Case(RESTORING, HANG, ROLLED_BACK, 1, BAD_PROBE),  # the rollback script hangs; it is no reason not to restore
]
ROWS = [
    pytest.param(case, update, supervised, id=f"{case.phase}-{case.fault.name.lower()}-{kind}-{way}")
    for case in CASES
    for update, kind in ((False, "first"), (True, "update"))
    for supervised, way in ((False, "scripts"), (True, "supervised"))
]


def test_the_table_is_whole() -> None:
    working = [phase for phase in Phase if not phase.final]
    assert Counter((case.phase, case.fault) for case in CASES) == Counter(itertools.product(working, Fault))
    assert len(ROWS) == 140


@pytest.mark.parametrize(("case", "update", "supervised"), ROWS)
def test_one_complete_release_runs_and_the_outcome_is_told(
    subject: Subject, in_use: dict[Bundle, Path], case: Case, update: bool, supervised: bool
) -> None:
    old = releases.GOOD[supervised]
    new = releases.new(case.phase, case.fault, supervised=supervised)
    if update:
        subject.take_over(in_use[old])
    trouble: Trouble | None = Trouble(case.phase, case.fault)
    if case.fault is HANG and case.phase in {DOWNLOADING, ACTIVATING, PROBING, RESTORING}:
        trouble = None  # what hangs is outside of the agent, which has to get out of it by itself
        subject.settle(answer_timeout_s=0.5, download_patience_s=0.1)
        subject.fake.faults["archive"] = [slowly(5)] * (case.phase is DOWNLOADING)

    deployment = subject.fake.offer(new)
    outcome = subject.lives(deployment, trouble)

    assert outcome.phase is case.ends, outcome.error
    assert (outcome.error or "").startswith(case.says or "")
    assert bool(outcome.error) == bool(case.says)
    assert subject.entered(case.phase) == case.entries <= MAX_TRIES
    assert subject.untold() == []
    check_what_runs(subject, case.ends, old if update else None, new, supervised=supervised)


def check_what_runs(subject: Subject, ends: Phase, old: Bundle | None, new: Bundle, *, supervised: bool) -> None:
    subject.check_whole()
    app = subject.device.app()
    if ends is BROKEN:
        return
    runs = new if ends is SUCCEEDED else old
    assert app.current == (runs.digest if runs else None)
    assert subject.device.works() == (runs.version if runs else "")
    kept = {path.name for path in app.releases.iterdir() if path.is_dir()} if app.releases.is_dir() else set()
    assert kept == {one.digest for one in (runs, old) if one}
    assert list(subject.device.state.downloads.iterdir()) == []
    if runs and supervised:
        serves = app.data / "serves"
        serves.unlink(missing_ok=True)
        with subject.life(once=False):
            assert eventually(lambda: serves.exists() and serves.read_text() == f"{runs.version}\n")
