"""The processes of the demo: one control plane, eight agents. None of them outlives it."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from typing import Self

from kernex.cli.client import ControlPlane
from kernex.domain.errors import UnavailableError
from kernex.wire.operator import EnrolmentKeyRequest

DEVICES = 8
LABELS = {"site": "demo"}
HEARTBEAT_S = 1
LONG_POLL_S = 2  # a device that has something to tell waits for no longer
READY_S = 60.0  # for the control plane to answer
STOP_S = 20.0  # from SIGTERM to SIGKILL
KEY_S = 3600  # the enrolment key lives so long

_PR_SET_PDEATHSIG = 1  # prctl(2)


class Stage:
    """Starts everything on entry and stops everything on exit, however that comes about."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: dict[str, str] = {}  # device id -> name
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._libc = CDLL(None)

    def __enter__(self) -> Self:
        try:
            self._start_control_plane()
            self._enrol_devices()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.control.__exit__()
        self.stop()

    @property
    def running(self) -> int:
        """How many of the processes run, counted."""
        return sum(process.poll() is None for process in self._processes.values())

    def check(self) -> None:
        """UnavailableError with its last words where a process ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                lines = self._log(name).read_text(errors="replace").strip().splitlines()
                ended = UnavailableError(f"cannot go on: {name} ended: {lines[-1] if lines else 'it wrote no log'}")
                ended.add_note("kernex demo --data-dir D keeps every log, in D")
                raise ended

    def stop(self) -> None:
        """The agents first, which stop what they supervise; then the control plane. A second Ctrl-C changes nothing."""
        ignored = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        processes = list(self._processes.values())
        for group in (processes[1:], processes[:1]):
            for process in group:
                process.terminate()
            ends = time.monotonic() + STOP_S
            for process in group:
                try:
                    process.wait(max(0.0, ends - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._processes.clear()
        self._sweep()
        for one, handler in ignored.items():
            signal.signal(one, handler)

    def _sweep(self) -> None:
        """What an agent that was killed could not stop any more: whoever works on data of its releases."""
        theirs = b"\0KERNEX_DATA=" + os.fsencode(self.root) + b"/"
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile, or is not ours
                if theirs in b"\0" + (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)

    def _start_control_plane(self) -> None:
        data = self.root / "control-plane"
        self.url = f"http://127.0.0.1:{_free_port()}"
        host, port = self.url.removeprefix("http://").split(":")
        made = self._run("kernex.server", "token", "create", "--role", "admin", "--data-dir", str(data))
        self.token = made.strip()
        self._start(
            "control-plane", "kernex.server", "run", "--data-dir", str(data), "--host", host, "--port", port,
            "--heartbeat-interval", str(HEARTBEAT_S), "--long-poll", str(LONG_POLL_S),
        )  # fmt: skip
        self.control = ControlPlane(self.url, self.token)
        ends = time.monotonic() + READY_S
        while not self.control.healthy():
            self.check()
            if time.monotonic() > ends:
                raise UnavailableError(f"cannot start the control plane: it does not answer within {READY_S:.0f} s")
            time.sleep(0.05)

    def _enrol_devices(self) -> None:
        key = self.control.create_key(
            EnrolmentKeyRequest(labels=LABELS, uses=DEVICES, expires_s=KEY_S, auto_approve=True)
        ).key
        for number in range(1, DEVICES + 1):
            name = f"edge-{number:02}"
            state = self.root / name
            self._run("kernex.agent", "enroll", self.url, "--key", key, "--state-dir", str(state))
            known = {device.device_id for device in self.control.devices()}
            self.names |= dict.fromkeys(known - self.names.keys(), name)
            self._start(name, "kernex.agent", "run", "--state-dir", str(state))

    def _start(self, name: str, *argv: str) -> None:
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the demo, which stops them in order
                preexec_fn=self._die_with_me,  # noqa: PLW1509 - no threads here yet
            )
        self._processes[name] = process

    def _die_with_me(self) -> None:
        """In the child: should the demo be killed, be told to end as well."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _run(self, *argv: str) -> str:
        """A command that ends; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *argv], capture_output=True, text=True, check=False, timeout=60, env=_environment()
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise UnavailableError(f"cannot run {argv[0]} {argv[1]}: {said}")
        return done.stdout

    def _log(self, name: str) -> Path:
        return self.root / f"{name}.log"


def _environment() -> dict[str, str]:
    """Where ``python3`` is this interpreter: it is the one that has onnxruntime."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
