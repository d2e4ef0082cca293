"""Running a probe: what is outside for it to reach, and whether it did."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.probes import PRELUDE, SURVIVOR, Probe
from tests.sandbox.yard import CANARY, Yard

from kernex.agent import proc
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Run

_IPC_RMID = 0
_WORDS = 4096  # characters that a report may carry
_WORKLOAD = f"{87_000 + os.getpid() / 10_000_000:.7f}"  # seconds that the other app sleeps
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything that a script must not reach, and that is really there. `known` tells it where."""

    yard: Yard
    known: dict[str, str | int]

    def failures(self, probe: Probe) -> list[str]:
        """How the probe got out; nothing when it was contained."""
        release = self.yard.release(PRELUDE + textwrap.dedent(probe.program), json.dumps(self.known))
        planted = release.app.data / "planted"
        if not planted.exists():
            self.yard.run(self.yard.release("#!/bin/sh\ntrue\n"))  # from now on the data has its owner
            shutil.copy("/usr/bin/id", planted)
            planted.chmod(0o4755)
        try:
            ended = self.yard.run(release, timeout_s=probe.timeout_s)
            words = ended.words if ended.status == 0 else f"ESCAPED its program: {ended.words}"
        except RejectedError as error:
            words = str(error) if "s are over" in str(error) else f"ESCAPED its program: {error}"
        if len(words) > _WORDS:
            return [f"{len(words)} characters of output"]
        return [line for line in words.splitlines() if line.startswith("ESCAPED")] + [
            f"outlived by {pid}" for pid in survivors()
        ]


@contextmanager
def outside(yard: Yard) -> Iterator[Outside]:
    """An agent with a secret in its environment and in a descriptor, another app with a secret and a workload,
    sockets of every kind, and a directory that is open to everybody."""
    with ExitStack() as stack:
        other = yard.release("#!/bin/sh\ntrue\n", app="other", run=Run(["sleep", _WORKLOAD]))
        yard.run(other)
        yard.driver.start(other)
        secret = other.app.data / "secret"
        secret.write_text(CANARY)
        secret.chmod(0o600)
        os.chown(secret, other.app.data.stat().st_uid, -1)
        opened = os.open(secret, os.O_RDONLY)
        stack.callback(os.close, opened)
        os.set_inheritable(opened, True)
        os.environ["KERNEX_PROBE_SECRET"] = CANARY
        stack.callback(os.environ.pop, "KERNEX_PROBE_SECRET")
        holder = stack.enter_context(subprocess.Popen(["sleep", "601"]))  # the agent's environment, as it began
        stack.callback(holder.kill)
        everybody = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=yard.state.root.parent)))
        everybody.chmod(0o777)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = f"kernex-{os.getpid()}"
        for name in ("\0" + abstract, str(everybody / "socket")):
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            end.bind(name)
            end.listen()
        (everybody / "socket").chmod(0o777)
        shared = os.getpid()
        segment = _LIBC.shmget(shared, 4096, 0o1666)
        stack.callback(_LIBC.shmctl, segment, _IPC_RMID, None)
        known = {
            "canary": CANARY,
            "agent": os.getpid(),
            "other": _pid_of_sleep(),
            "state": str(yard.state.root),
            "secret": str(secret),
            "open": str(everybody),
            "port": tcp.getsockname()[1],
            "abstract": abstract,
            "socket": str(everybody / "socket"),
            "shared": shared,
        }
        yield Outside(yard, known)


def _pid_of_sleep() -> int:
    while not (found := [one.pid for one in proc.everybody() if _words(one.pid) == ["sleep", _WORKLOAD]]):
        pass
    return found[-1]


def survivors() -> list[int]:
    """Processes that a probe left running."""
    return [one.pid for one in proc.everybody() if one.alive and _words(one.pid) == ["sleep", SURVIVOR]]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().removesuffix("\0").split("\0")
    except OSError:
        return []
