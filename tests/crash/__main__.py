"""``make crash``: every strike there is, on every core, a table, and the rows of ``build/crash.json``."""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from types import FrameType

from benchmarks._figures import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from tests.crash import campaign, mounts
from tests.crash.campaign import CONTROLS, DOUBLES, FILE_SYSTEMS, FULL, KILLS, Chunk, Control, Report
from tests.figures import record

_TARGETS = {KILLS: 10_000, **dict.fromkeys(FILE_SYSTEMS, 5_000), DOUBLES: 1_000, FULL: 500}
_UNITS = {KILLS: "kills", **dict.fromkeys(FILE_SYSTEMS, "power cuts"), DOUBLES: "double crashes", FULL: "points"}
_SHOWN = 5  # violations of a chunk


def main() -> int:
    """Run it all; 0 if every target was met."""
    console = Console()
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(dir=mounts.quick_place(), prefix="kernex-crash-") as directory:
        work = Path(directory)
        reason = mounts.why_not(work)
        if reason:
            console.print(f"[yellow]No power cuts here:[/] {reason}")
            if os.environ.get("CI") == "true":
                return 1
        file_systems = () if reason else FILE_SYSTEMS
        interrupted = False
        try:
            for report in _all(campaign.everything(file_systems), work, console):
                reports.append(report)
                _tell(console, report)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            mounts.clear(work)
    figures = [*_figures(reports, [KILLS, *file_systems, DOUBLES, FULL])]
    _print(console, figures)
    if interrupted:
        console.print("Interrupted: this is what there was until then. Nothing is left mounted, nothing was recorded.")
        return 130
    record("crash", figures)
    return 0 if all(figure.met for figure in figures) else 1


def _all(chunks: Sequence[Chunk | Control], work: Path, console: Console) -> Iterator[Report]:
    """The reports as they come. A Ctrl-C ends the workers too, each after it has taken down its mounts."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    pool = ProcessPoolExecutor(initializer=_become_worker)
    try:
        futures = [pool.submit(_run, chunk, work) for chunk in chunks]
        yield from _watched(futures, console)
    except BaseException:
        for child in multiprocessing.active_children():
            with suppress(ProcessLookupError):
                os.kill(child.pid or 0, signal.SIGINT)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _watched(futures: Sequence["Future[Report]"], console: Console) -> Iterator[Report]:
    """A bar for people, a line for every tenth on a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    began, told, struck = time.monotonic(), 0, 0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("crash", total=len(futures))
        for done, future in enumerate(as_completed(futures), start=1):
            report = future.result()
            struck += len(report.struck)
            progress.update(task, advance=1, description=f"crash: {struck:,} strikes")
            if not console.is_terminal and done * 10 // len(futures) > told:
                told = done * 10 // len(futures)
                print(f"{told * 10} %, {struck:,} strikes, {time.monotonic() - began:.0f} s", flush=True)
            yield report


def _figures(reports: Sequence[Report], rows: Sequence[str]) -> Iterator[Figure]:
    for row in rows:
        target = _TARGETS[row]
        mine = [report for report in reports if report.what.row == row]
        hits = sum(len(report.hits) for report in mine)
        distinct = len(set().union(*(report.distinct for report in mine)))
        violations = sum(len(report.violations) for report in mine)
        yield Figure(
            name=row,
            value=hits,
            unit=_UNITS[row],
            compared_with=f"{distinct:,} distinct, {violations} violations",
            ratio=violations / hits if hits else None,
            target=f"at least {target:,}, 0 violations",
            met=hits >= target and violations == 0,
        )
    controls = [report for report in reports if report.what.row == CONTROLS]
    found = sum(bool(report.violations) for report in controls)
    yield Figure(
        name=CONTROLS,
        value=found,
        unit="found",
        compared_with=f"{len(controls)} promises taken away",
        ratio=found / len(controls) if controls else None,
        target="all of them",
        met=0 < len(controls) == found,
    )


def _tell(console: Console, report: Report) -> None:
    """What was found, at once: violations, and which controls were not."""
    if isinstance(report.what, Control):
        seen = f"found by strike {len(report.struck)}" if report.violations else "[red]not found[/]"
        console.print(f"control: {report.what.name}, {report.what.file_system or 'killed'}: {seen}")
        return
    for text in report.violations[:_SHOWN]:
        console.print(f"violation: {text}", style="red", markup=False, highlight=False, soft_wrap=True)


def _print(console: Console, figures: Sequence[Figure]) -> None:
    table = Table(title="crash", title_justify="left")
    for column in ("what", "struck", "found", "target", "met"):
        table.add_column(column, justify="right" if column == "struck" else "left")
    for one in figures:
        table.add_row(one.name, f"{one.value:,.0f}", one.compared_with, one.target, "yes" if one.met else "no")
    console.print(table)


def _run(what: Chunk | Control, work: Path) -> Report:
    """In a worker. The pool hands out chunks ahead: after a Ctrl-C they are handed back."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    return campaign.run(what, work)


def _become_worker() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Once: what is taken down then is not interrupted again."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
