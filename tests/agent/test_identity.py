"""Becoming known: one key, registered once in effect, wherever it was cut off."""

import stat
import subprocess
import sys

import pytest
from tests.agent.devices import Device, run
from tests.agent.fake_control_plane import FakeControlPlane, Fault, hang_up, lose_answer, refuse

from kernex.agent import enrolment, identity
from kernex.agent.keys import Key
from kernex.agent.state import StateDirectory
from kernex.domain.errors import ConflictError, DeniedError, NotFoundError, RejectedError, UnavailableError


def test_a_device_proves_its_key_and_remembers_who_it_is(fake: FakeControlPlane, new_device: Device) -> None:
    said = enrolment.enroll(new_device.state, fake.url, "kxe_secret", "camera")
    [registration] = fake.registrations
    assert (registration.enrolment_key, registration.device_type) == ("kxe_secret", "camera")
    assert registration.hardware_metadata["os"] == "linux"
    [(thumbprint, device_id)] = fake.devices.items()
    assert identity.read_enrolment(new_device.state) == identity.Enrolment(fake.url, "fake", device_id, thumbprint)
    assert device_id in said
    assert thumbprint in said


def test_a_pending_device_says_what_an_operator_has_to_run(fake: FakeControlPlane, new_device: Device) -> None:
    fake.admission = "pending"
    said = enrolment.enroll(new_device.state, fake.url, None, None)
    assert f"kernex device approve {new_device.id}" in said


def test_the_key_and_its_directory_are_for_the_owner_alone(new_device: Device) -> None:
    Key(new_device.state.key, "test").public()
    assert stat.S_IMODE(new_device.state.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(new_device.state.root.stat().st_mode) == 0o700


def test_a_key_that_others_may_read_is_not_used(new_device: Device) -> None:
    key = Key(new_device.state.key, "test")
    key.public()
    new_device.state.key.chmod(0o640)
    for use in (key.public, lambda: key.prove("t", "a", "n")):
        with pytest.raises(DeniedError, match="chmod 600"):
            use()


def test_a_state_directory_that_others_may_read_is_not_used(new_device: Device) -> None:
    new_device.state.root.chmod(0o755)
    with pytest.raises(DeniedError, match="chmod 700"):
        new_device.state.prepare()


def test_a_missing_key_is_not_made_anew_behind_an_enrolment(new_device: Device) -> None:
    with pytest.raises(RejectedError, match="is missing; enrol the device"):
        Key(new_device.state.key, "test").assert_identity("id", "fake", "nonce")


CUTS: dict[str, list[Fault]] = {
    "before the server heard anything": [hang_up, hang_up],
    "after the nonce": [lose_answer, lose_answer],
    "by a server that is busy": [refuse(503)],
}


@pytest.mark.parametrize("cut", CUTS)
def test_an_enrolment_that_was_cut_off_is_run_again(fake: FakeControlPlane, new_device: Device, cut: str) -> None:
    fake.faults["register"] = [*CUTS[cut]]
    with pytest.raises(UnavailableError):
        new_device.enrolled()
    key = new_device.state.key.read_bytes()
    with pytest.raises(NotFoundError, match="kernex-agent enroll"):
        identity.read_enrolment(new_device.state)
    new_device.enrolled()
    assert new_device.state.key.read_bytes() == key
    assert len(fake.devices) == 1


def test_a_registration_whose_answer_was_lost_gets_its_own_id_back(fake: FakeControlPlane, new_device: Device) -> None:
    new_device.enrolled()
    first = new_device.id
    new_device.state.enrolment.unlink()  # the power went before it was written
    new_device.enrolled()
    assert new_device.id == first
    assert len(fake.registrations) == 2


def test_a_device_does_not_move_to_another_control_plane_by_mistake(fake: FakeControlPlane, device: Device) -> None:
    with pytest.raises(ConflictError, match=f"belongs to {fake.url}"):
        enrolment.enroll(device.state, "http://127.0.0.1:1", None, None)
    fake.issuer = "impostor"
    with pytest.raises(DeniedError, match="it calls itself 'impostor', this device belongs to 'fake'"):
        enrolment.enroll(device.state, fake.url, None, None)


def test_a_refused_registration_says_why(fake: FakeControlPlane, new_device: Device) -> None:
    fake.faults["register"] = [refuse(403, "the enrolment key ended yesterday")]
    with pytest.raises(DeniedError, match="the enrolment key ended yesterday"):
        new_device.enrolled()


@pytest.mark.parametrize("url", ["kernex.example", "ftp://x", "http://", "https://user:pw@host", "http://host/?a=b"])
def test_an_address_that_is_none_is_refused(new_device: Device, url: str) -> None:
    with pytest.raises(RejectedError, match="write https://HOST"):
        enrolment.enroll(new_device.state, url, None, None)


def test_two_agents_never_share_a_state_directory(new_device: Device) -> None:
    other = StateDirectory(new_device.state.root)
    with new_device.state.lock():
        assert other.locked()
        with pytest.raises(ConflictError, match="another agent runs there"), other.lock():
            pass
        held = run("enroll", new_device, new_device.url)
        assert (held.returncode, "another agent runs there" in held.stderr) == (1, True)
    assert not other.locked()


def test_an_enrolment_that_cannot_be_read_is_named(new_device: Device) -> None:
    new_device.state.enrolment.write_text("{")
    with pytest.raises(ConflictError, match=r"cannot read .*enrolment.json"):
        identity.read_enrolment(new_device.state)


def test_the_hand_that_signs_refuses_what_it_does_not_know() -> None:
    done = subprocess.run([sys.executable, "-m", "kernex.agent.signing", "dance"], capture_output=True, check=False)
    assert done.returncode == 1
