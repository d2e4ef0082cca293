"""Lives of a real agent: each is a process of its own, forked from one that has everything imported
(``python -m tests.state.lives``: it reads what each life shall be like, and answers with its process id).

What goes wrong in a life goes wrong inside of it: steps are replaced in its own table of steps, and to be
killed is to be killed by SIGKILL. How often a phase was entered is counted beside the device, on disk.
"""

import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NoReturn, Self

import msgspec
from tests.agent.bundles import Bundle
from tests.agent.devices import QUICK, Device
from tests.agent.fake_control_plane import FakeControlPlane

from kernex import durable
from kernex.agent import daemon
from kernex.agent.identity import Enrolment, read_enrolment
from kernex.agent.install import runner  # noqa: F401 - imported by an install: here once for all lives
from kernex.agent.install.journal import Journal
from kernex.agent.install.step import Ended, Step, Workplace
from kernex.agent.install.steps import STEPS
from kernex.agent.state import StateDirectory
from kernex.bundle.descriptor import Descriptor
from kernex.bundle.verify import check_release
from kernex.domain.errors import RejectedError
from kernex.domain.install import Install, Phase
from kernex.trust import assertion
from kernex.trust.assertion import Purpose, sign
from kernex.wire.device import InstallReport

SETTINGS = QUICK + 'sandbox = "none"\n'
LONGEST_LIFE_S = 20.0
LOG = "log"  # of all lives, beside their counts

_ROOT = Path(__file__).resolve().parents[2]


class Fault(StrEnum):
    """What goes wrong in a phase."""

    KILLED_BEFORE = "killed before it did anything"
    KILLED_AFTER = "killed when it was done and had not said so"
    KILLED_EACH_TIME = "killed each time"
    ERROR = "error"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault in a phase. Only the first entry meets it, unless it is of each time."""

    phase: Phase
    fault: Fault

    def around(self, step: Step, entries: int) -> Step:
        """The step as it goes when it is entered after `entries` entries."""
        if entries and self.fault is not Fault.KILLED_EACH_TIME:
            return step

        def troubled(install: Install, workplace: Workplace) -> Ended:
            match self.fault:
                case Fault.KILLED_BEFORE | Fault.KILLED_EACH_TIME:
                    die()
                case Fault.KILLED_AFTER:
                    step(install, workplace)
                    die()
                case Fault.ERROR:
                    raise RejectedError(f"cannot go through {self.phase} today")
                case Fault.HANG:
                    time.sleep(LONGEST_LIFE_S)  # until somebody pulls the plug
            raise AssertionError(self.fault)

        return troubled


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("alive")


class Order(msgspec.Struct):
    """What a life shall be like."""

    root: str
    counts: str
    once: bool
    phase: Phase | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """One that was begun."""

    pid: int
    watched: int  # a descriptor that is readable once it is over; -1 when it was over at once

    def over(self, within_s: float) -> bool:
        return self.watched < 0 or bool(select.select([self.watched], [], [], within_s)[0])

    def kill(self) -> None:
        """By force, unless it is over."""
        self._send(signal.SIGKILL)

    def end(self) -> None:
        """As an owner ends it, unless it is over."""
        self._send(signal.SIGTERM)
        if not self.over(0):
            self.kill()
            raise AssertionError("the life did not end when it was told to")

    def _send(self, number: int) -> None:
        if self.watched >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.watched, number)
            self.over(LONGEST_LIFE_S)

    def forget(self) -> None:
        if self.watched >= 0:
            os.close(self.watched)


@dataclass(frozen=True, slots=True)
class Mother:
    """Who all lives are forked from."""

    process: subprocess.Popen[bytes]

    @classmethod
    @contextmanager
    def started(cls, **variables: str) -> Iterator[Self]:
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'src'}", **variables}
        command = [sys.executable, "-m", __name__]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            yield cls(process)
            assert process.stdin
            process.stdin.close()

    def bear(self, order: Order) -> Life:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        try:
            return Life(pid, os.pidfd_open(pid))
        except ProcessLookupError:
            return Life(pid, -1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A device, its control plane and where its lives are counted."""

    mother: Mother
    device: Device
    fake: FakeControlPlane
    counts: Path

    @classmethod
    def enrolled(
        cls, root: Path, fake: FakeControlPlane, mother: Mother, private_key: bytes, *, counts: Path | None = None
    ) -> Self:
        """What `kernex-agent enroll` leaves on both sides, without the seconds that it takes."""
        device = Device.new(root, fake.url, SETTINGS)
        public, device_id = assertion.public_key(private_key), "device-1"
        fake.devices[public.thumbprint], fake.keys[device_id] = device_id, public
        durable.write(device.state.key, private_key)
        enrolment = Enrolment(fake.url, fake.issuer, device_id, public.thumbprint)
        durable.write(device.state.enrolment, msgspec.json.encode(enrolment))
        counts = counts or root.with_name("counts")
        counts.mkdir()
        return cls(mother, device, fake, counts)

    def settle(self, **values: float | str) -> None:
        """Change the device's settings."""
        settings = tomllib.loads(SETTINGS) | values
        lines = [f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in settings.items()]
        self.device.state.settings.write_text("".join(lines))

    @contextmanager
    def life(self, trouble: Trouble | None = None, *, once: bool = True) -> Iterator[Life]:
        """One life of the agent: of one heartbeat and what it asks for, or until the block ends."""
        order = Order(str(self.device.state.root), str(self.counts), once)
        if trouble is not None:
            order.phase, order.fault = trouble.phase, trouble.fault
        life = self.mother.bear(order)
        try:
            yield life
            if once:
                assert life.over(LONGEST_LIFE_S), "the life does not end"
        finally:
            try:
                life.end()
            finally:
                life.forget()

    def lives(self, deployment: str, trouble: Trouble | None = None, *, most: int = 12) -> InstallReport:
        """Life after life until the deployment has its outcome."""
        for _ in range(most):
            with self.life(trouble) as life:
                if trouble is not None and trouble.fault is Fault.HANG and self.entered(trouble.phase) == 0:
                    self.watchdog(life, trouble.phase)
            if deployment in self.fake.outcomes:
                return self.fake.outcomes[deployment]
        raise AssertionError(f"no outcome after {most} lives")

    def watchdog(self, life: Life, phase: Phase) -> None:
        """Pull the plug once the phase hangs."""
        deadline = time.monotonic() + LONGEST_LIFE_S
        while not life.over(0.005) and not self.entered(phase):
            assert time.monotonic() < deadline
        if not life.over(0.05):
            life.kill()

    def entered(self, phase: Phase) -> int:
        """How often a phase was entered since the last `forget`."""
        path = self.counts / phase
        return path.stat().st_size if path.exists() else 0

    def forget(self) -> None:
        for path in self.counts.iterdir():
            path.unlink()

    def take_over(self, used: Path) -> None:
        """Have what another device has installed, and its journal."""
        shutil.copytree(used / "apps", self.device.state.apps, symlinks=True, dirs_exist_ok=True)
        shutil.copy(used / "state.db", self.device.state.journal)

    def installed(self, bundle: Bundle) -> None:
        """Have it installed, reported and forgotten by the control plane."""
        deployment = self.fake.offer(bundle)
        assert self.lives(deployment).phase is Phase.SUCCEEDED
        self.forget()

    def journal(self, deployment: str) -> Install | None:
        with closing(Journal(self.device.state.journal)) as journal:
            return journal.find(deployment)

    def untold(self) -> list[Install]:
        with closing(Journal(self.device.state.journal)) as journal:
            return journal.unacknowledged()

    def check_whole(self) -> None:
        """`current`, if there is one, is one complete release."""
        app = self.device.app()
        if app.current is not None:
            descriptor = Descriptor.parse(app.descriptor(app.current).read_bytes(), app.current)
            assert check_release(app.release(app.current), descriptor) == []


def main() -> None:
    """Fork a life for every order, until standard input ends. No threads: a fork of them would inherit their locks."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        pid = os.fork()
        if pid == 0:
            answers.close()
            _live(order)
        answers.write(b"%d\n" % pid)


def _live(order: Order) -> NoReturn:
    """The whole life of a forked process: that of `daemon.run`, but that the key is at hand."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        logging.basicConfig(
            filename=Path(order.counts, LOG), format="%(asctime)s %(message)s", level=logging.INFO, force=True
        )
        trouble = Trouble(order.phase, order.fault) if order.phase and order.fault else None
        for phase, step in list(STEPS.items()):
            meets = trouble if trouble and trouble.phase is phase else None
            STEPS[phase] = _counted(step, Path(order.counts, phase), meets)
        state = StateDirectory(Path(order.root))
        device_id, key = read_enrolment(state).device_id, state.key.read_bytes()
        login = partial(_sign, key, device_id)
        status = 0 if daemon.run(state, once=order.once, login=login) else 1
    finally:
        os._exit(status)


def _sign(key: bytes, device_id: str, issuer: str, nonce: str) -> str:
    return sign(key, Purpose.LOGIN, subject=device_id, audience=issuer, nonce=nonce)


def _counted(step: Step, path: Path, trouble: Trouble | None) -> Step:
    def counted(install: Install, workplace: Workplace) -> Ended:
        entries = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.write(b".")
        return (trouble.around(step, entries) if trouble else step)(install, workplace)

    return counted


if __name__ == "__main__":
    main()
