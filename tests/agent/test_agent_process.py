"""``kernex-agent`` as a process: killed, started again, stopped, and asked how it is."""

import json
import os
import signal
import subprocess
import sys
import time

from tests.agent import bundles
from tests.agent.devices import Device, alive, command, eventually, kill, run
from tests.agent.fake_control_plane import FakeControlPlane, cut, refuse, slowly

import kernex
from kernex.domain.install import Phase

SERVING = ["/bin/sh", "-c", 'echo $$ > "$KERNEX_DATA/pid"; exec sleep 300']


def uncontained(device: Device) -> None:
    """A device without a sandbox: in one, nothing outlives the agent, and a script does not know its own pid."""
    with device.state.settings.open("a") as file:
        file.write('sandbox = "none"\n')


def pid(device: Device) -> int:
    path = device.app().data / "pid"
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_an_agent_killed_in_a_deploy_script_finishes_after_its_restart(fake: FakeControlPlane, device: Device) -> None:
    """And the script that was under way does not run beside its second run."""
    uncontained(device)
    script = f'echo $$ >> "$KERNEX_DATA/runs"; test -e "$KERNEX_DATA/again" || exec sleep 300; {bundles.MARKING}'
    bundle = bundles.release("1.0.0", deploy=script)
    deployment = fake.offer(bundle)
    runs = device.app().data / "runs"
    with device.process() as agent:
        assert eventually(runs.exists)
        kill(agent)
    [orphan] = map(int, runs.read_text().split())
    assert alive(orphan)
    (device.app().data / "again").touch()
    with device.process():
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED
        assert not alive(orphan)
    assert device.works() == "1.0.0"


def test_an_agent_killed_in_a_download_goes_on_where_it_was(fake: FakeControlPlane, device: Device) -> None:
    bundle = bundles.release("1.0.0", files={"model.bin": os.urandom(600_000)})
    fake.faults["archive"] = [cut(300_000), refuse(503, Retry_After="60")]
    deployment = fake.offer(bundle)
    with device.process() as agent:
        fake.wait(lambda: len(fake.ranges()) == 2)
        kill(agent)
    with device.process():
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED
    assert fake.ranges()[-1] == "bytes=300000-"


def test_a_workload_that_outlived_its_agent_is_ended_before_the_new_one_starts(
    fake: FakeControlPlane, device: Device
) -> None:
    uncontained(device)
    deployment = fake.offer(bundles.release("1.0.0", run=SERVING))
    with device.process() as agent:
        fake.outcome(deployment)
        first = pid(device)
        kill(agent)
    assert alive(first)
    (device.app().data / "pid").unlink()
    with device.process():
        second = pid(device)
        assert not alive(first)
        assert alive(second)
    assert not alive(second)


def test_sigterm_stops_the_agent_and_its_workloads_soon_and_as_a_success(
    fake: FakeControlPlane, device: Device
) -> None:
    uncontained(device)
    deployment = fake.offer(bundles.release("1.0.0", run=SERVING))
    fake.long_poll_s = 30
    with device.process() as agent:
        fake.outcome(deployment)
        serving = pid(device)
        fake.faults["heartbeat"] = [slowly(3)] * 2
        time.sleep(0.2)
        began = time.monotonic()
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 0
        assert time.monotonic() - began < 2.5
    assert not alive(serving)


def test_a_stop_in_the_middle_of_a_script_costs_no_try(fake: FakeControlPlane, device: Device) -> None:
    script = f'echo $$ >> "$KERNEX_DATA/runs"; test -e "$KERNEX_DATA/again" || exec sleep 300; {bundles.MARKING}'
    deployment = fake.offer(bundles.release("1.0.0", deploy=script))
    runs = device.app().data / "runs"
    for stops in range(1, 5):  # more often than a phase may be tried
        with device.process():
            assert eventually(lambda: runs.exists() and len(runs.read_text().split()) == stops)  # noqa: B023
            began = time.monotonic()
        assert time.monotonic() - began < 2, "the script has 5 s, a stop has not"
    assert device.left() == []
    (device.app().data / "again").touch()
    with device.process():
        assert fake.outcome(deployment).phase is Phase.SUCCEEDED


def test_one_heartbeat_and_what_it_asks_for(fake: FakeControlPlane, device: Device) -> None:
    deployment = fake.offer(bundles.release("1.0.0"))
    assert run("run", device, "--once").returncode == 0
    assert fake.outcomes[deployment].phase is Phase.SUCCEEDED
    fake.faults["heartbeat"] = [refuse(503)]
    assert run("run", device, "--once").returncode == 1


def test_enrol_and_status_by_hand(fake: FakeControlPlane, new_device: Device) -> None:
    before = run("status", new_device)
    assert "not enrolled" in before.stdout
    done = run("enroll", new_device, fake.url, "--key", "kxe_secret")
    assert done.returncode == 0, done.stderr
    assert new_device.id in done.stdout
    deployment = fake.offer(bundles.release("1.0.0", probe=bundles.FAILING))
    assert run("run", new_device, "--once").returncode == 0
    found = json.loads(run("status", new_device, "-o", "json").stdout)
    assert found["enrolment"]["device_id"] == new_device.id
    assert found["running"] is False
    [install] = found["installs"]
    assert install == {
        "deployment_id": deployment,
        "bundle": "vad==1.0.0",
        "phase": "rolled_back",
        "error": "probe failed: speech 0 (needs >=0.8)",
        "metrics": {"speech": 0.0},
    }
    said = run("status", new_device).stdout
    assert "install vad==1.0.0 rolled_back: probe failed: speech 0 (needs >=0.8)" in said


def test_what_went_wrong_decides_the_exit_status(fake: FakeControlPlane, new_device: Device) -> None:
    not_enrolled = run("run", new_device)
    assert (not_enrolled.returncode, "run kernex-agent enroll URL" in not_enrolled.stderr) == (1, True)
    assert run("enroll", new_device).returncode == 2
    fake.faults["register"] = [refuse(403, "this key has no uses left")]
    refused = run("enroll", new_device, fake.url)
    assert (refused.returncode, "this key has no uses left" in refused.stderr) == (3, True)
    new_device.state.settings.write_text("patience = 3")
    misspelt = run("enroll", new_device, fake.url)
    assert (misspelt.returncode, "there is no setting 'patience'" in misspelt.stderr) == (1, True)


def test_it_says_its_version_and_teaches() -> None:
    version = subprocess.run(
        [sys.executable, "-m", "kernex.agent", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout == f"kernex-agent {kernex.__version__}\n"
    helped = subprocess.run(
        [sys.executable, "-m", "kernex.agent", "--help"], capture_output=True, text=True, check=True
    )
    assert "first steps:" in helped.stdout


def test_the_log_has_one_line_an_event(fake: FakeControlPlane, device: Device) -> None:
    fake.offer(bundles.release("1.0.0", deploy="echo one; echo two; exit 1"))
    with subprocess.Popen(command("run", device, "--once"), stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr is not None
        lines = agent.stderr.read().splitlines()
    assert any("activating -> restoring" in line and "one | two" in line for line in lines)
    assert all(line[:2] == "20" for line in lines)  # each begins with its date


def test_what_costs_memory_is_not_imported_by_an_idle_agent() -> None:
    heavy = ["cryptography", "joserfc", "zstandard", "tarfile", "ctypes", "httpx2", "rich", "cyclopts", "packaging"]
    script = f"import sys, kernex.agent.daemon; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
