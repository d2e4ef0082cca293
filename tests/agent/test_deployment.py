"""One deployment, from the command to its outcome, over real HTTP."""

import pytest
from tests.agent import bundles
from tests.agent.devices import Device
from tests.agent.fake_control_plane import FakeControlPlane, refuse
from tests.archives import archive

from kernex.domain.install import Phase

NEVER_ENDS = 'trap "" TERM; setsid sleep 300 & (setsid sh -c "sleep 300 & sleep 300" &) ; echo waiting; sleep 300'


def test_a_bundle_that_works_is_installed_and_reported(fake: FakeControlPlane, device: Device) -> None:
    bundle = bundles.release("1.0.0")
    deployment = fake.offer(bundle)
    with device.running():
        outcome = fake.outcome(deployment)
    assert outcome.phase is Phase.SUCCEEDED
    assert outcome.metrics == {"speech": 0.9}
    assert device.app().current == bundle.digest
    assert device.works() == "1.0.0"
    assert list(device.state.downloads.iterdir()) == []


def test_an_upgrade_remembers_the_release_before_it_and_drops_older_ones(
    fake: FakeControlPlane, device: Device
) -> None:
    releases = [bundles.release(version) for version in ("1.0.0", "2.0.0", "3.0.0")]
    with device.running():
        for bundle in releases:
            assert fake.outcome(fake.offer(bundle)).phase is Phase.SUCCEEDED
    app = device.app()
    assert (app.current, app.previous) == (releases[2].digest, releases[1].digest)
    kept = {path.name for path in app.releases.iterdir() if path.is_dir()}
    assert kept == {releases[2].digest, releases[1].digest}


def test_a_probe_below_its_threshold_puts_the_old_release_back(fake: FakeControlPlane, device: Device) -> None:
    good, bad = (
        bundles.release("1.0.0"),
        bundles.release("2.0.0", probe=bundles.FAILING, rollback="touch $KERNEX_DATA/undone"),
    )
    with device.running():
        fake.outcome(fake.offer(good))
        outcome = fake.outcome(fake.offer(bad))
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.error == "probe failed: speech 0 (needs >=0.8)"
    assert outcome.metrics == {"speech": 0.0}
    assert device.app().current == good.digest
    assert device.works() == "1.0.0"
    assert (device.app().data / "undone").exists()
    assert not device.app().release(bad.digest).exists()


def test_a_first_install_that_fails_leaves_nothing(fake: FakeControlPlane, device: Device) -> None:
    with device.running():
        outcome = fake.outcome(fake.offer(bundles.release("1.0.0", probe=bundles.FAILING)))
    assert outcome.phase is Phase.ROLLED_BACK
    assert list(device.state.apps.iterdir()) == []
    assert list(device.state.downloads.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo no such model >&2; exit 3",
            "deploy script 'deploy.sh' failed: it ended with status 3; it said: no such model",
        ),
        ("kill -9 $$", "deploy script 'deploy.sh' failed: it was killed by signal 9; it said nothing"),
    ],
)
def test_a_failing_deploy_script_is_reported_with_its_last_words(
    fake: FakeControlPlane, device: Device, script: str, reason: str
) -> None:
    good = bundles.release("1.0.0")
    with device.running():
        fake.outcome(fake.offer(good))
        outcome = fake.outcome(fake.offer(bundles.release("2.0.0", deploy=script)))
    assert (outcome.phase, outcome.error) == (Phase.ROLLED_BACK, reason)
    assert device.app().current == good.digest
    assert device.works() == "1.0.0"


def test_a_script_that_never_ends_is_ended_with_everything_it_started(fake: FakeControlPlane, device: Device) -> None:
    good = bundles.release("1.0.0")
    endless = bundles.release("2.0.0", deploy=NEVER_ENDS, deploy_timeout_s=0.5)
    with device.running():
        fake.outcome(fake.offer(good))
        outcome = fake.outcome(fake.offer(endless))
        assert device.left() == []
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.error == "cannot wait longer for the deploy script 'deploy.sh': 0.5 s are over; it said: waiting"
    assert device.works() == "1.0.0"


def test_a_network_error_is_reported_and_the_old_release_runs_on(fake: FakeControlPlane, device: Device) -> None:
    good = bundles.release("1.0.0")
    with device.running():
        fake.outcome(fake.offer(good))
        fake.faults["archive"] = [refuse(503, "the store is away")] * 1000
        outcome = fake.outcome(fake.offer(bundles.release("2.0.0")))
    assert outcome.phase is Phase.FAILED
    assert outcome.error == "cannot download the archive: the store is away (503)"
    assert device.app().current == good.digest


def test_a_wrong_checksum_is_reported_and_the_old_release_runs_on(fake: FakeControlPlane, device: Device) -> None:
    good, other = bundles.release("1.0.0"), bundles.release("2.0.0")
    with device.running():
        fake.outcome(fake.offer(good))
        outcome = fake.outcome(fake.offer(other, checksum_sha256="0" * 64))
    assert outcome.phase is Phase.FAILED
    assert (outcome.error or "").startswith(f"cannot use the archive: its SHA-256 is {other.sha256.short}…")
    assert device.app().current == good.digest


def test_a_bundle_other_than_the_one_named_is_refused(fake: FakeControlPlane, device: Device) -> None:
    bundle = bundles.release("2.0.0")
    with device.running():
        outcome = fake.outcome(fake.offer(bundle, bundle_version="1.0.0"))
    assert (outcome.phase, outcome.error) == (
        Phase.FAILED,
        "cannot install vad==1.0.0: the bundle says that it is vad==2.0.0",
    )


def test_an_archive_without_a_manifest_is_refused(fake: FakeControlPlane, device: Device) -> None:
    good, bare = bundles.release("1.0.0"), archive(None, {"model.onnx": b"weights"})
    bundle = bundles.Bundle("vad", "2.0.0", bare, bundles.make("2.0.0").descriptor)
    with device.running():
        fake.outcome(fake.offer(good))
        outcome = fake.outcome(fake.offer(bundle))
    assert outcome.phase is Phase.FAILED
    assert "manifest.json" in (outcome.error or "")
    assert device.app().current == good.digest


def test_a_device_that_lacks_what_a_bundle_requires_says_what(fake: FakeControlPlane, device: Device) -> None:
    bundle = bundles.release("1.0.0", requires={"arch": "riscv128"})
    with device.running():
        outcome = fake.outcome(fake.offer(bundle))
    assert outcome.phase is Phase.FAILED
    assert (outcome.error or "").startswith("cannot run vad==1.0.0 on this device: arch must be riscv128")


def test_when_the_old_release_does_not_come_back_both_reasons_are_said(fake: FakeControlPlane, device: Device) -> None:
    """The old release stopped working behind our back: its probe looks at a file that the bad one removed."""
    old = bundles.release(
        "1.0.0", probe=f'test ! -e "$KERNEX_DATA/ruined"; {bundles.PASSING}', health={"deadline_s": 0.3}
    )
    bad = bundles.release("2.0.0", probe=f'touch "$KERNEX_DATA/ruined"; {bundles.FAILING}')
    with device.running():
        fake.outcome(fake.offer(old))
        outcome = fake.outcome(fake.offer(bad))
    assert outcome.phase is Phase.BROKEN
    error = outcome.error or ""
    assert error.startswith("probe failed: speech 0 (needs >=0.8); then cannot restore vad==1.0.0: probe failed:")
    assert device.app().current == old.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"bundle_name": "../../etc"},
        {"bundle_version": "../1"},
        {"digest": "../../../tmp/x"},
        {"checksum_sha256": "/etc/passwd"},
        {"size_bytes": -1},
        {"bundle_id": "x" * 65},
    ],
)
def test_a_command_with_hostile_names_is_answered_and_touches_nothing(
    fake: FakeControlPlane, device: Device, changes: dict[str, object]
) -> None:
    with device.running():
        outcome = fake.outcome(fake.offer(bundles.release("1.0.0"), **changes))
    assert outcome.phase is Phase.FAILED
    assert (outcome.error or "").startswith("cannot")
    assert list(device.state.apps.iterdir()) == []


def test_a_probe_does_not_pass_for_a_workload_that_is_not_there(fake: FakeControlPlane, device: Device) -> None:
    """The probe is content with a file; the process that should serve it ends at once."""
    bundle = bundles.release("1.0.0", run=["/bin/sh", "-c", "exit 1"], health={"successes": 2, "interval_s": 0.1})
    with device.running():
        outcome = fake.outcome(fake.offer(bundle))
    assert (outcome.phase, outcome.error) == (Phase.ROLLED_BACK, "probe failed: its process does not stay up")


@pytest.mark.parametrize(
    ("script", "phase"), [("exec sleep 300", Phase.SUCCEEDED), ("sleep 0.05; exit 0", Phase.ROLLED_BACK)]
)
def test_without_a_probe_a_workload_has_to_stay_up(
    fake: FakeControlPlane, device: Device, script: str, phase: Phase
) -> None:
    bundle = bundles.release("1.0.0", probe=None, run=["/bin/sh", "-c", script])
    with device.running():
        assert fake.outcome(fake.offer(bundle)).phase is phase


def test_a_probe_without_a_verdict_is_asked_again_until_its_deadline(fake: FakeControlPlane, device: Device) -> None:
    ready = f'echo try >> "$KERNEX_DATA/tries"; test $(wc -l < "$KERNEX_DATA/tries") -ge 3\n{bundles.PASSING}'
    never = bundles.release("2.0.0", probe="echo still loading; exit 1", health={"deadline_s": 0.3})
    with device.running():
        assert fake.outcome(fake.offer(bundles.release("1.0.0", probe=ready))).phase is Phase.SUCCEEDED
        outcome = fake.outcome(fake.offer(never))
    assert outcome.phase is Phase.ROLLED_BACK
    assert outcome.error is not None
    assert outcome.error.startswith("probe failed: ")
    assert outcome.error.endswith("it said: still loading within 0.3 s")


def test_a_script_sees_its_release_and_nothing_of_the_agent(
    fake: FakeControlPlane, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cuda")
    device.state.settings.write_text(device.state.settings.read_text() + 'pass_environment = ["LD_LIBRARY_PATH"]\n')
    script = """env > "$KERNEX_DATA/env"; ls -l /proc/self/fd > "$KERNEX_DATA/fds"
        pwd > "$KERNEX_DATA/cwd"; umask >> "$KERNEX_DATA/cwd\""""
    bundle = bundles.release("1.0.0", deploy=script)
    with device.running():
        assert fake.outcome(fake.offer(bundle)).phase is Phase.SUCCEEDED
    app = device.app()
    seen = dict(line.split("=", 1) for line in (app.data / "env").read_text().splitlines())
    assert seen.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {
        *(
            "PATH",
            "LANG",
            "HOME",
            "TMPDIR",
            "PYTHONUNBUFFERED",
            "PYTHONDONTWRITEBYTECODE",
            "LD_LIBRARY_PATH",
            "KERNEX_RUN",
        ),
        *("KERNEX_APP", "KERNEX_VERSION", "KERNEX_RELEASE", "KERNEX_DATA", "KERNEX_PREVIOUS"),
    }
    assert (app.data / "cwd").read_text().split() == [str(app.release(bundle.digest)), "0027"]
    assert "state.db" not in (app.data / "fds").read_text()
    assert "socket" not in (app.data / "fds").read_text()
