"""Following a deployment until nothing about it changes any more.

`follow` asks, `changes` and `picture` say what was seen, `judge` says whether that is what was asked for.
Only `follow` and `show` do anything.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kernex.cli import durations, render
from kernex.cli.client import ControlPlane
from kernex.cli.exit_codes import DeploymentFailedError, WaitTimeoutError
from kernex.domain.assignment import FAILURES, OUTCOMES, State
from kernex.domain.errors import UnavailableError
from kernex.wire.operator import AssignmentReport, DeploymentDetail, WaveReport

POLL_S = 0.5
OUTAGE_S = 60.0  # how long a control plane that does not answer is waited for
MAX_FOLLOWED = 500  # targets; above that, devices are counted and not named

Names = Mapping[str, str]  # device id -> what to call it; the start of its id where it is missing
UNTOUCHED = frozenset({State.CANCELLED, State.SUPERSEDED})  # over for the device, but not done
_BAR = 30  # columns


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A deployment at one moment. `assignments` is empty where there are too many to name."""

    detail: DeploymentDetail
    assignments: list[AssignmentReport]


def follow(
    control: ControlPlane,
    deployment_id: str,
    *,
    timeout_s: float | None = None,
    poll_s: float = POLL_S,
    outage_s: float = OUTAGE_S,
) -> Iterator[Snapshot]:
    """Snapshots until the deployment is settled; the last one is final. WaitTimeoutError after `timeout_s`.

    A control plane that restarts is waited for: the deployment does not depend on who looks.
    """
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    heard = time.monotonic()
    while True:
        try:
            snapshot = look(control, deployment_id)
        except UnavailableError:
            if time.monotonic() - heard > outage_s:
                raise
        else:
            heard = time.monotonic()
            yield snapshot
            if snapshot.detail.settled:
                return
        if ends is not None and time.monotonic() >= ends:
            late = WaitTimeoutError(f"cannot wait longer for deployment {deployment_id}: it is not done, and goes on")
            late.add_note(come_back(deployment_id))
            raise late
        time.sleep(poll_s)


def look(control: ControlPlane, deployment_id: str) -> Snapshot:
    """The deployment now. Its assignments are read after it: when it was settled, they are too."""
    detail = control.deployment(deployment_id)
    return Snapshot(detail, list(control.assignments(deployment_id)) if detail.targets <= MAX_FOLLOWED else [])


def show(
    console: Console, snapshots: Iterable[Snapshot], names: Names | None = None, *, transient: bool = False
) -> Snapshot:
    """Draw what happens: redrawn in place on a terminal, otherwise a line for each change. Returns the last.

    A `transient` drawing is gone at the end.
    """
    last: Snapshot | None = None
    if not console.is_terminal:
        for snapshot in snapshots:
            for line in changes(last, snapshot, names or {}):
                console.print(line)
            last = snapshot
    else:
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis", transient=transient) as live:
            for last in snapshots:
                live.update(picture(last, names or {}, rows=max(3, console.height - 12)), refresh=True)
    assert last is not None  # noqa: S101 - `follow` yields or raises
    return last


def judge(snapshot: Snapshot) -> None:
    """DeploymentFailedError where not every device runs what was asked for."""
    detail = snapshot.detail
    if detail.status == "completed" and detail.tally.get(State.SUCCEEDED, 0) == detail.targets:
        return
    ended = f"{detail.status}: {detail.reason}" if detail.reason else detail.status
    failed = DeploymentFailedError(f"cannot call {detail.bundle} deployed: {ended} ({_counts(detail.tally)})")
    failed.add_note(f"see why: kernex deployment show {detail.deployment_id}")
    raise failed


def come_back(deployment_id: str) -> str:
    """How to look at it again."""
    return f"it goes on without you; come back with: kernex deployment watch {deployment_id}"


def changes(before: Snapshot | None, now: Snapshot, names: Names) -> list[Text]:
    """A line for everything that `now` has and `before` has not."""
    lines = []
    detail = now.detail
    opened = {wave.number for wave in before.detail.waves if wave.open} if before else set()
    for wave in detail.waves:
        if wave.open and wave.number not in opened:
            devices = "device" if wave.size == 1 else "devices"
            lines.append(Text(f"wave {wave.number} of {len(detail.waves)} opens: {wave.size} {devices}"))
    known = {one.device_id: (one.state, one.phase) for one in before.assignments} if before else {}
    lines.extend(
        Text.assemble(f"{_name(one, names)}  ", _doing(one), _why(one))
        for one in now.assignments
        if one.state != State.PENDING and known.get(one.device_id) != (one.state, one.phase)
    )
    if before is None or before.detail.status != detail.status:
        reason = f": {render.clean(detail.reason)}" if detail.reason else ""
        lines.append(Text.assemble(f"{render.clean(detail.bundle)}  ", render.state(detail.status), reason))
    return lines


def picture(now: Snapshot, names: Names, *, rows: int) -> RenderableType:
    """The deployment as one screen: head, a bar a wave, a line a device (the interesting ones first)."""
    detail = now.detail
    return Group(head(detail), Text(), _waves(detail.waves), Text(), *devices(now.assignments, names, rows))


def head(detail: DeploymentDetail) -> Table:
    """What is deployed, where to, and how it stands."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    status = Text.assemble(render.state(detail.status), f"  {durations.say(_age_s(detail))}")
    for title, value in (
        ("Deployment", render.short(detail.deployment_id)),
        ("Bundle", render.short(detail.bundle)),
        ("Targets", f"{render.short(detail.selector or 'named devices')}  ({detail.targets} devices)"),
        ("Limit", f"{render.short(detail.max_failures)} may fail"),
        ("Status", status),
        ("Reason", render.short(detail.reason or "")),
    ):
        if value:
            grid.add_row(Text(title, style="dim"), value if isinstance(value, Text) else Text(value))
    return grid


def devices(assignments: list[AssignmentReport], names: Names, rows: int) -> list[RenderableType]:
    """The devices as a table, at most `rows` of them, and how many more there are."""
    shown = sorted(assignments, key=lambda one: (*_interest(one), _name(one, names)))[:rows]
    if not shown:
        return []
    columns: list[tuple[str, Callable[[AssignmentReport], Text]]] = [
        ("device", lambda one: Text(_name(one, names))),
        ("wave", lambda one: Text(str(one.wave))),
        ("state", _doing),
        ("probe", lambda one: Text(metrics(one))),
        ("reason", lambda one: Text(render.short(one.error_message or "", 120))),
    ]
    grid = render.table([render.Column(title, cell) for title, cell in columns], shown)
    more = len(assignments) - len(shown)
    return [grid, Text(f"… and {more} more", style="dim")] if more else [grid]


def metrics(one: AssignmentReport) -> str:
    """What its probe measured: ``speech 0.9, frames 231``."""
    return render.short(", ".join(f"{name} {value:g}" for name, value in sorted(one.metrics.items())), 80)


def _waves(waves: list[WaveReport]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for wave in waves:
        done = sum(wave.tally.get(outcome, 0) for outcome in OUTCOMES - UNTOUCHED)
        failed = sum(wave.tally.get(outcome, 0) for outcome in FAILURES)
        sign, style = ("◌", "dim") if not wave.open else ("✖", "red") if failed else ("▶", "yellow")
        if wave.open and done == wave.size and not failed:
            sign, style = "✔", "green"
        grid.add_row(
            Text(f"{sign} wave {wave.number}", style=style),
            ProgressBar(wave.size, done, width=_BAR, complete_style=style, finished_style=style),
            Text(f"{done}/{wave.size}"),
            Text("waiting" if wave.tally.get(State.PENDING, 0) == wave.size else _counts(wave.tally), style="dim"),
        )
    return grid


def _interest(one: AssignmentReport) -> tuple[int, int]:
    """Failures first, then who is at work, then who is done, then who waits."""
    if one.state in FAILURES:
        rank = 0
    elif one.state == State.PENDING:
        rank = 3
    else:
        rank = 2 if one.state in OUTCOMES else 1
    return rank, one.wave


def _doing(one: AssignmentReport) -> Text:
    look = render.state(one.state)
    return look if one.state in OUTCOMES or not one.phase else look.append(f", {render.short(one.phase, 20)}")


def _why(one: AssignmentReport) -> str:
    said = one.error_message or metrics(one)
    return f"  {render.clean(said)}" if said and one.state in OUTCOMES else ""


def _name(one: AssignmentReport, names: Names) -> str:
    return names.get(one.device_id) or render.clean(one.device_id)[:8]


def _counts(tally: Mapping[str, int]) -> str:
    counted = (f"{count} {render.clean(state).replace('_', ' ')}" for state, count in tally.items() if count)
    return ", ".join(counted)


def _age_s(detail: DeploymentDetail) -> float:
    end = detail.finished_at.timestamp() if detail.finished_at else time.time()
    return end - detail.created_at.timestamp()
