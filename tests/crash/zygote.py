"""An agent's process with everything imported: each life of an agent is a fork of it, a few milliseconds away.

Run as ``python -m tests.crash.zygote STATE`` with the shim preloaded. It lives once itself, in that state directory,
so that everything is imported and compiled; then it reads orders and writes lives, one line of JSON each. It has no
threads by then, or forks of it would inherit locks that nobody unlocks.
"""

import ctypes
import gc
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from tests.crash import mounts
from tests.crash.points import UNFORESEEN, Action, Life, Order

from kernex.agent import daemon, processes
from kernex.agent.identity import read_enrolment
from kernex.agent.state import StateDirectory
from kernex.domain.errors import KernexError
from kernex.trust.assertion import Purpose, sign

SOURCE = Path(__file__).with_name("shim.c")
ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1  # prctl(2)


def compiled(directory: Path) -> Path:
    """The shim, made by the system's C compiler."""
    library = directory / "shim.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE"]
    subprocess.run(["cc", *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass(frozen=True, slots=True)
class Zygote:
    """The other end: a process to ask for lives."""

    process: subprocess.Popen[bytes]

    @classmethod
    @contextmanager
    def started(cls, shim: Path, state: Path, log: Path) -> Iterator["Zygote"]:
        """`state` is an enrolled state directory to warm up in; its key is that of all lives."""
        environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        with (
            log.open("wb") as words,
            subprocess.Popen(
                [sys.executable, "-m", "tests.crash.zygote", str(state)],
                cwd="/",
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield cls(process)
            finally:
                process.kill()

    def live(self, order: Order) -> Life:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        self.process.stdin.flush()
        return msgspec.json.decode(self.process.stdout.readline(), type=Life)


def main(state: StateDirectory) -> None:
    """Serve until standard input ends."""
    _die_with_parent()
    private = state.key.read_bytes()
    processes.adopt_orphans()  # what a killed agent leaves behind comes to us, and is collected
    _be_alive(state, private)
    gc.collect()
    gc.freeze()  # or every life copies the pages in which it counts
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answers.write(msgspec.json.encode(_life(msgspec.json.decode(line, type=Order), private)) + b"\n")
        answers.flush()


def _life(order: Order, private: bytes) -> Life:
    note = os.memfd_create("points")
    try:
        pid = os.fork()
        if pid == 0:
            _be_an_agent(order, private, note)
        overdue = not _ends(pid, order.patience_s)
        if overdue:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        size = os.fstat(note).st_size
        trace = os.pread(note, size, 0).decode().splitlines()
        return Life(os.waitstatus_to_exitcode(status), tuple(trace), overdue)
    finally:
        os.close(note)


def _ends(pid: int, patience_s: float) -> bool:
    watched = os.pidfd_open(pid)
    try:
        return bool(select.select([watched], [], [], patience_s)[0])
    finally:
        os.close(watched)


def _be_an_agent(order: Order, private: bytes, note: int) -> None:
    """The whole life of a forked process."""
    status = UNFORESEEN
    try:
        _die_with_parent()
        threading.excepthook = _thread_failed
        os.setpgid(0, 0)
        logging.basicConfig(format="%(message)s", level=logging.INFO)
        state = StateDirectory(Path(order.root))
        mount, device = -1, 0
        if order.action is Action.POWER_CUT:
            mount, device = mounts.guarded(Path(order.mount), order.device), order.device
        shim = ctypes.CDLL(None)
        c_int = ctypes.c_int
        shim.crash_arm.argtypes = [
            *(ctypes.c_char_p, c_int, ctypes.c_long, c_int, ctypes.c_uint),
            *(c_int, ctypes.c_uint64, c_int),
        ]
        shim.crash_arm(order.root.encode(), order.action, order.at, order.after, order.weaknesses, mount, device, note)
        status = 0 if _be_alive(state, private) else 1
    except (KernexError, OSError) as error:
        logging.error("%s", error)  # noqa: LOG015, TRY400 - as the agent does
        status = 1
    finally:
        if status == UNFORESEEN:
            traceback.print_exc()
        os._exit(status)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    traceback.print_exception(failure.exc_value)
    os._exit(UNFORESEEN)


def _die_with_parent() -> None:
    """Leave nothing running where a suite was ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_alive(state: StateDirectory, private: bytes) -> bool:
    """`daemon.run` for one heartbeat and what it asks for, but that the key is at hand."""
    me = read_enrolment(state).device_id

    def login(issuer: str, nonce: str) -> str:
        return sign(private, Purpose.LOGIN, subject=me, audience=issuer, nonce=nonce)

    with daemon.assembled(state, login) as agent:
        return agent.run_once()


if __name__ == "__main__":
    main(StateDirectory(Path(sys.argv[1])))
