"""What a bundle asks for and a device's owner does not allow is refused before anything of it is unpacked."""

import pytest
from tests.agent import bundles
from tests.agent.devices import Device
from tests.agent.fake_control_plane import FakeControlPlane

from kernex.domain.install import Phase


@pytest.mark.parametrize(
    ("settings", "permissions", "reason"),
    [
        ("", ["privileged"], "cannot grant the permission privileged: this device allows network, gpu; name it in"),
        ("allow_permissions = []\n", ["network"], "cannot grant the permission network: this device allows none; name"),
        (
            'sandbox = "none"\nsandbox_floor = "restricted"\n',
            [],
            "cannot contain anything here as far as sandbox_floor wants, restricted: agent.toml says sandbox = none;",
        ),
    ],
)
def test_what_the_device_does_not_allow_fails_before_it_is_unpacked(
    fake: FakeControlPlane, device: Device, settings: str, permissions: list[str], reason: str
) -> None:
    with device.state.settings.open("a") as file:
        file.write(settings)
    with device.running():
        outcome = fake.outcome(fake.offer(bundles.release("1.0.0", permissions=permissions)))
    assert outcome.phase is Phase.FAILED
    assert (outcome.error or "").startswith(reason)
    assert not device.app().releases.exists()


def test_the_first_heartbeat_says_how_far_scripts_are_contained(fake: FakeControlPlane, device: Device) -> None:
    with device.running():
        fake.wait(lambda: any(beat.facts for beat in fake.heartbeats))
    told = next(beat.facts for beat in fake.heartbeats if beat.facts)
    assert told is not None
    assert told["sandbox"]["level"] in ("bubblewrap", "restricted", "none")
