"""A device for tests: its state directory, its agent in this process or as a process of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernex.agent import daemon, enrolment, identity, proc
from kernex.agent.agent import Agent
from kernex.agent.apps import App, Apps
from kernex.agent.state import StateDirectory

QUICK = """\
answer_timeout_s = 5.0
download_patience_s = 1.0
heartbeat_floor_s = 0.02
backoff_first_s = 0.05
backoff_longest_s = 0.3
term_grace_s = 0.3
settle_s = 0.2
restart_first_s = 0.05
disk_margin_bytes = 1
ballast_bytes = 4096
"""


@dataclass(frozen=True, slots=True)
class Device:
    """One device, enrolled with `url` or not yet."""

    state: StateDirectory
    url: str

    @classmethod
    def new(cls, root: Path, url: str, settings: str = QUICK) -> "Device":
        state = StateDirectory(root)
        state.prepare()
        state.settings.write_text(settings)
        return cls(state, url)

    def enrolled(self) -> "Device":
        enrolment.enroll(self.state, self.url, "kxe_test", "test")
        return self

    @property
    def id(self) -> str:
        return identity.read_enrolment(self.state).device_id

    def app(self, name: str = "vad") -> App:
        return Apps(self.state.apps)[name]

    def works(self, name: str = "vad") -> str:
        """The version whose deploy script ran last."""
        path = self.app(name).data / "works"
        return path.read_text().strip() if path.exists() else ""

    @contextmanager
    def running(self) -> Iterator[Agent]:
        """The agent, in a thread of this process."""
        with daemon.assembled(self.state) as agent:
            thread = threading.Thread(target=agent.run)
            thread.start()
            try:
                yield agent
            finally:
                agent.quit()
                thread.join()

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The agent, as a process; stopped by SIGTERM unless it ended."""
        process = subprocess.Popen(command("run", self, *arguments), stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=15)
            finally:
                process.kill()
                process.wait()

    def left(self) -> list[int]:
        """Processes that run on behalf of this device: nothing of a bundle hides from this but with effort."""
        mark = f"KERNEX_RUN={self.state.mark}".encode()
        return [one.pid for one in proc.everybody() if one.alive and mark in proc.environment(one.pid)]


def command(verb: str, device: Device, *arguments: str) -> Sequence[str]:
    return [sys.executable, "-m", "kernex.agent", verb, "--state-dir", str(device.state.root), *arguments]


def run(verb: str, device: Device, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of `kernex-agent`, to its end."""
    return subprocess.run(command(verb, device, *arguments), capture_output=True, text=True, timeout=60, check=False)


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def alive(pid: int) -> bool:
    seen = proc.look(pid)
    return seen is not None and seen.alive


def kill(process: subprocess.Popen[str]) -> None:
    """Power off, as far as a process is concerned."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
