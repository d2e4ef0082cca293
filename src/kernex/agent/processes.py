"""Starting what bundles bring, and ending all of it.

Everything that a bundle starts, and everything that those start, belongs to one *run*. A run is ended when
nothing of it is left, whatever its processes did to get away: another process group, another session, a
double fork, a cleared environment. Each trick leaves one of the traces that `_family` follows.
"""

import logging
import os
import selectors
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kernex.agent import cgroups, proc

log = logging.getLogger(__name__)

MARK = "KERNEX_RUN"  # the environment variable that names the run
_LAST_PIECES = 16  # taken from a pipe after its writer ended: more than a pipe holds
_KILL_PATIENCE_S = 10.0  # a process in an uninterruptible sleep may take its time; then it is left, and said so
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

_lock = threading.Lock()
_children: set[int] = set()  # pids that this process started through `start`
_adopting = False


def adopt_orphans() -> None:
    """Become the parent of whatever loses its parent below us, so that nothing slips out of the tree.

    For a process that starts children only through `start`: any other child is an orphan of some run.
    """
    global _adopting  # noqa: PLW0603 - a process has one set of children
    import ctypes  # noqa: PLC0415 - a megabyte that an idle agent does not need

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
        _adopting = True
    else:
        log.warning("cannot adopt orphans: %s", os.strerror(ctypes.get_errno()))


@dataclass(frozen=True, slots=True)
class Run:
    """One started program. `mark` is in the environment of all its descendants that kept theirs. A `kept` one
    is a keeper: the program is its child, in a namespace that the kernel ends with it. `group` is its control
    group."""

    process: subprocess.Popen[bytes]
    mark: str
    started: int  # clock ticks since boot
    kept: bool = False
    group: Path | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def outputs(self) -> list[IO[bytes]]:
        return [pipe for pipe in (self.process.stdout, self.process.stderr) if pipe is not None]


def new_mark(prefix: str) -> str:
    """A name for a run that nothing else has; `prefix` names whose run it is."""
    return f"{prefix}.{uuid.uuid4().hex}"


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    mark: str,
    merge_errors: bool = False,
    fds: tuple[int, ...] = (),
    kept: bool = False,
    group: Path | None = None,
) -> Run:
    """Start a program in a session of its own, its output in pipes, nothing inherited but `fds`.

    A keeper ends with the *thread* that started it (prctl(2), PR_SET_PDEATHSIG): that has to wait for it.
    """
    with _lock:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge_errors else subprocess.PIPE,
            start_new_session=True,
            pass_fds=fds,
            umask=0o027,
            bufsize=0,
        )
        _children.add(process.pid)
    seen = proc.look(process.pid)
    run = Run(process, mark, seen.started if seen else 0, kept, group)
    for pipe in run.outputs:
        os.set_blocking(pipe.fileno(), False)
    return run


def attend(
    run: Run, sinks: Mapping[int, Callable[[bytes], object]], *, until: Callable[[], bool], glance_s: float = 0.05
) -> bool:
    """Hand what the run prints to the sink of its descriptor until its first process ends (True) or
    `until`, asked every `glance_s` at least, says to stop (False)."""
    with selectors.DefaultSelector() as selector, _watched(run, selector):
        for pipe in run.outputs:
            selector.register(pipe, selectors.EVENT_READ)
        while run.process.poll() is None:
            if until():
                return False
            for key, _ in selector.select(glance_s):
                if key.fd in sinks and not _pump(key.fd, sinks[key.fd]):
                    selector.unregister(key.fd)
    for pipe in run.outputs:
        for _ in range(_LAST_PIECES):
            if not _pump(pipe.fileno(), sinks[pipe.fileno()]):
                break
    return True


def terminate(run: Run) -> bool:
    """Ask its group to end; False when its first process has ended already."""
    if run.process.poll() is not None:
        return False
    with suppress(ProcessLookupError):
        os.killpg(_group_of(run), signal.SIGTERM)
    return True


def status(run: Run) -> int:
    """Its exit status, negative for a signal; a keeper tells that as a shell does, 128 more."""
    code = run.process.returncode
    return 128 - code if run.kept and 128 < code <= 128 + signal.NSIG else code


def end(run: Run, *, grace_s: float) -> int:
    """End the run: SIGTERM to its group, after `grace_s` SIGKILL to everything that is left of it.

    Returns how many processes had outlived the first one. Its pipes are closed.
    """
    if grace_s > 0 and terminate(run):
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(grace_s)
    if run.group is not None:
        cgroups.kill(run.group)
    survivors = kill_all(lambda everybody: _family(run, everybody))
    with suppress(subprocess.TimeoutExpired):
        run.process.wait(_KILL_PATIENCE_S)
    for pipe in run.outputs:
        pipe.close()
    with _lock:
        _children.discard(run.pid)
    if run.group is not None:
        cgroups.remove(run.group)
    return 0 if run.kept else len(survivors - {run.pid})  # what was kept ends with its keeper, if a moment later


def sweep(prefix: str) -> int:
    """Kill every process of any run whose mark begins with `prefix`: what an agent that was killed left."""
    killed = kill_all(lambda everybody: {one.pid for one in everybody if wears(one.pid, prefix)})
    if (parent := cgroups.own()) is not None:
        cgroups.sweep(parent, prefix)
    return len(killed)


def kill_all(find: Callable[[list[proc.Process]], set[int]]) -> set[int]:
    """SIGKILL what `find` picks, again and again until it picks nothing that lives; the pids killed."""
    killed: set[int] = set()
    deadline = time.monotonic() + _KILL_PATIENCE_S
    while True:
        everybody = proc.everybody()
        wanted = find(everybody)
        living = {one.pid for one in everybody if one.pid in wanted and one.alive}
        _reap(wanted - living)
        if not living:
            return killed
        if time.monotonic() > deadline:
            log.error("cannot end the processes %s: they do not die of SIGKILL", sorted(living))
            return killed
        for pid in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= living
        time.sleep(0.002)


def collect_orphans() -> None:
    """Let go of the dead that came to us from runs that go on."""
    if _adopting:
        me = os.getpid()
        _reap({one.pid for one in proc.everybody() if one.parent == me and not one.alive})


def _group_of(run: Run) -> int:
    """Whom a signal to the program is for. A keeper dies of it, and all that it keeps at once: so it goes past
    it, once there is somebody."""
    below = (one.group for one in proc.everybody() if one.parent == run.pid)
    return next(below, run.pid) if run.kept else run.pid


def _family(run: Run, everybody: list[proc.Process]) -> set[int]:
    """Every process that belongs to the run, dead ones included while they are listed."""
    me = os.getpid()
    with _lock:
        strangers = _children if _adopting else None
    family = set()
    for one in everybody:
        if one.pid == me:
            continue
        if run.pid in (one.pid, one.group, one.session) or wears(one.pid, run.mark):
            family.add(one.pid)
        elif strangers is not None and one.parent == me and one.pid not in strangers and one.started >= run.started:
            # An orphan that came to us and started during this run: ours, unless it wears another run's mark.
            family |= {one.pid} if not one.alive or not wears(one.pid, "") else set()
    grew = True
    while grew:
        below = {one.pid for one in everybody if one.parent in family} - family
        grew = bool(below)
        family |= below
    return family


def wears(pid: int, mark: str) -> bool:
    """Whether the process carries this mark, or one that begins so."""
    return b"\0" + f"{MARK}={mark}".encode() in b"\0" + proc.environment(pid)


def _reap(dead: set[int]) -> None:
    """Collect orphans that came to us; what `start` started is its Popen's to collect."""
    with _lock:
        orphans = dead - _children
    for pid in orphans:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


@contextmanager
def _watched(run: Run, selector: selectors.BaseSelector) -> Iterator[None]:
    """Let the selector wake up when the first process ends, where the kernel can tell (Linux 5.3)."""
    try:
        fd = os.pidfd_open(run.pid)
    except OSError:
        yield
        return
    try:
        selector.register(fd, selectors.EVENT_READ)
        yield
    finally:
        os.close(fd)


def _pump(fd: int, sink: Callable[[bytes], object]) -> bool:
    """Move one piece; False when there is none now or ever."""
    try:
        piece = os.read(fd, 65536)
    except BlockingIOError:
        return False
    if piece:
        sink(piece)
    return bool(piece)
