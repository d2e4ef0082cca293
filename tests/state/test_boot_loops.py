"""A release that kills the agent or the device, by its own script and by its workload: three times, then no more.

The agent is a process of its own, started as people start it, and its bundle runs beside it with its rights: what the
sandbox keeps in is another suite's matter.
"""

import signal
import subprocess
import uuid
from pathlib import Path

import msgspec
import pytest
from tests.agent import bundles
from tests.agent.bundles import Bundle
from tests.agent.devices import command
from tests.state import releases
from tests.state.lives import Subject

from kernex.agent import processes
from kernex.agent.drivers.process import Footprint
from kernex.domain.install import MAX_TRIES, Phase

#: The parent of a bundle's first process is the agent.
KILLS_THE_AGENT = 'echo . >> "$KERNEX_DATA/kills"; kill -9 $PPID; sleep 5'
#: Lets itself be probed, and kills the agent once the success was told.
KILLS_IT_LATER = ["/bin/sh", "-c", f'test -e "$KERNEX_DATA/told" && {{ {KILLS_THE_AGENT}; }}; exec sleep 300']
every_death = pytest.mark.parametrize("reboot", [False, True], ids=["agent", "device"])


def boot(subject: Subject, *, reboot: bool) -> int:
    """Start the agent, to the end of its life, or for one heartbeat if it survives that. Its exit status."""
    if reboot:
        lose_power(subject)
    ended = subprocess.run(command("run", subject.device, "--once"), stderr=subprocess.PIPE, timeout=60, check=False)
    return ended.returncode


def lose_power(subject: Subject) -> None:
    """Nothing runs, and the next boot has another id: what the footprint says of processes means nothing."""
    processes.sweep(subject.device.state.mark)
    footprint = subject.device.app().footprint
    if footprint.exists():
        there = msgspec.json.decode(footprint.read_bytes(), type=Footprint)
        there.boot = str(uuid.uuid4())
        footprint.write_bytes(msgspec.json.encode(there))


@every_death
@pytest.mark.parametrize("phase", [Phase.ACTIVATING, Phase.PROBING])
def test_a_script_that_kills_three_times_is_given_up(
    subject: Subject, in_use: dict[Bundle, Path], phase: Phase, reboot: bool
) -> None:
    subject.take_over(in_use[releases.SCRIPTS])
    deploy = KILLS_THE_AGENT if phase is Phase.ACTIVATING else bundles.MARKING
    probe = KILLS_THE_AGENT if phase is Phase.PROBING else bundles.PASSING
    deployment = subject.fake.offer(bundles.release("2.0.0", deploy=deploy, probe=probe))
    deaths = [boot(subject, reboot=reboot) for _ in range(MAX_TRIES + 1)]
    assert deaths == [*[-signal.SIGKILL] * MAX_TRIES, 0]
    outcome = subject.fake.outcomes[deployment]
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.error == f"cannot get through {phase}: tried 3 times"
    assert subject.device.works() == "1.0.0"
    check_back(subject)


@every_death
def test_a_workload_that_kills_three_times_after_the_success_is_put_back(
    subject: Subject, in_use: dict[Bundle, Path], reboot: bool
) -> None:
    subject.take_over(in_use[releases.SCRIPTS])
    deployment = subject.fake.offer(bundles.release("2.0.0", run=KILLS_IT_LATER))
    assert boot(subject, reboot=reboot) == 0
    assert subject.fake.outcomes[deployment].phase is Phase.SUCCEEDED
    (subject.device.app().data / "told").touch()
    for _ in range(MAX_TRIES):
        if reboot:
            lose_power(subject)
        with subject.device.process() as agent:
            assert agent.wait(20) == -signal.SIGKILL
    assert boot(subject, reboot=reboot) == 0
    outcome = subject.fake.outcomes[deployment]
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.error == "it ended the agent or the device 3 times within its probation"
    check_back(subject)


def check_back(subject: Subject) -> None:
    app = subject.device.app()
    assert app.current == releases.SCRIPTS.digest
    assert len((app.data / "kills").read_text().split()) == MAX_TRIES
    assert subject.untold() == []
    subject.check_whole()
