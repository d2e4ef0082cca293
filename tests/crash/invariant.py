"""What has to be true of a device, whatever happened to it. Functions give the violations, in words."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tests.agent.bundles import Bundle
from tests.agent.fake_control_plane import FakeControlPlane
from tests.crash.scenarios import APP, Scenario

from kernex.agent.apps import App, Apps
from kernex.agent.install.journal import Journal
from kernex.agent.state import StateDirectory
from kernex.bundle.descriptor import Descriptor
from kernex.bundle.verify import check_release
from kernex.domain.errors import KernexError
from kernex.domain.install import Phase

#: Written under one name each, so they are replaced and not piled up; and what SQLite and workloads come and go with.
_PASSING = {
    *(f".{name}.new" for name in ("current", "previous", "run.json")),
    *("state.db-wal", "state.db-shm", "run.json", "run.log", "run.log.1"),
}


def at_any_time(scenario: Scenario, root: Path) -> Iterator[str]:
    """Right after the strike, before anything is repaired: the device stands on one whole release, the old or the
    new; on none only if it had none."""
    app = _app(root)
    current = app.current
    old = scenario.old
    known = {one.digest: one for one in (old, scenario.new) if one}
    if current is None:
        if old is not None:
            yield "current leads nowhere"
    elif current not in known:
        yield f"current is a stranger: {current.short}"
    else:
        yield from _whole(app, known[current], "current")


def in_the_end(
    scenario: Scenario, root: Path, deployment_id: str, told: FakeControlPlane, *, exact: bool, marked: bool
) -> Iterator[str]:
    """After a restart: journal, reality and what the control plane was told agree.

    `exact`: the outcome has to be the expected one, as nothing failed but the power. `marked`: what the deploy
    scripts wrote is on the disk too, which scripts do not sync.
    """
    outcome = told.outcomes.get(deployment_id)
    if outcome is None:
        yield "the outcome was never reported"
        return
    yield from _told(deployment_id, told, outcome.phase)
    if exact and outcome.phase is not scenario.expected:
        yield f"the outcome is {outcome.phase}, not {scenario.expected}: {outcome.error}"
    stands = scenario.new if outcome.phase is Phase.SUCCEEDED else scenario.old
    app = _app(root)
    if app.current != (stands.digest if stands else None):
        yield f"the outcome is {outcome.phase}, but current is {app.current}"
    elif stands:
        yield from _whole(app, stands, "current")
        yield from _reported(told, stands)
        if marked and (ran := _ran_last(app)) != stands.version:
            yield f"current is {stands.version}, but the deploy script of {ran or 'none'} ran last"
    known = {one.digest: one for one in (*scenario.before, scenario.new)}
    if app.previous is not None:
        if app.previous in known:
            yield from _whole(app, known[app.previous], "previous")
        else:
            yield f"previous is a stranger: {app.previous.short}"
    yield from _journal(root, deployment_id, outcome.phase)


def left(root: Path, expected: Sequence[str]) -> Iterator[str]:
    """Nothing lies around that an undisturbed install would not have left, and nothing is missing."""
    found = set(names(root))
    for name in sorted(found - set(expected)):
        yield f"left behind: {name}"
    for name in sorted(set(expected) - found):
        yield f"missing: {name}"


def names(root: Path) -> list[str]:
    """What lies in a state directory, but for what is inside of a release and what belongs to scripts."""
    found = []
    for directory, directories, files in os.walk(root):
        here = Path(directory)
        if here.parent.name == "releases" or here.name in ("data", "tmp"):
            directories.clear()
            continue
        found += [str((here / name).relative_to(root)) for name in (*directories, *files) if name not in _PASSING]
    return found


def _app(root: Path) -> App:
    return Apps(StateDirectory(root).apps)[APP]


def _whole(app: App, bundle: Bundle, what: str) -> Iterator[str]:
    descriptor = Descriptor.parse(bundle.descriptor, bundle.digest)
    for reason in check_release(app.release(bundle.digest), descriptor):
        yield f"{what} {bundle.version} is not whole: {reason}"


def _ran_last(app: App) -> str:
    path = app.data / "works"
    return path.read_text().strip() if path.exists() else ""


def _told(deployment_id: str, told: FakeControlPlane, phase: Phase) -> Iterator[str]:
    reports = [one for beat in told.heartbeats for one in beat.installs or [] if one.deployment_id == deployment_id]
    finals = {str(one.phase) for one in reports if one.phase.final}
    finals |= {_phase(result.status, result.outcome) for of, result in told.results if of == deployment_id}
    if finals != {str(phase)}:
        yield f"more than one outcome was told: {sorted(finals)}"
    yield from (f"the control plane did not understand: {mistake!r}" for mistake in told.mistakes)


def _phase(status: str, outcome: str | None) -> str:
    return "succeeded" if status == "success" else outcome or "failed"


def _reported(told: FakeControlPlane, stands: Bundle) -> Iterator[str]:
    apps = (told.heartbeats[-1].apps if told.heartbeats else None) or []
    said = {one.name: (str(one.digest), str(one.state)) for one in apps}
    if said.get(APP) != (str(stands.digest), "running"):
        yield f"the last heartbeat says {said.get(APP)}, the device stands on {stands.version}"


def _journal(root: Path, deployment_id: str, phase: Phase) -> Iterator[str]:
    path = StateDirectory(root).journal
    with closing(sqlite3.connect(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            yield f"state.db is damaged: {verdict}"
    try:
        with closing(Journal(path)) as journal:
            found = journal.find(deployment_id)
            if found is None or found.phase is not phase:
                yield f"the journal says {found and found.phase}, the control plane was told {phase}"
            if unfinished := journal.unfinished():
                yield f"the journal has an install that is not over: {unfinished.phase}"
            if waiting := journal.unacknowledged():
                yield f"the journal has {len(waiting)} outcomes to tell"
    except KernexError as error:
        yield f"the journal cannot be read: {error}"
