"""The same agent against the real control plane, so that the fake cannot teach it a wrong language."""

from pathlib import Path
from typing import Any

from tests.agent import bundles
from tests.agent.devices import Device, eventually
from tests.control_plane import ControlPlane

from kernex.agent import enrolment


def test_a_good_release_stays_and_a_bad_one_is_put_back(tmp_path: Path, quick_path: Path) -> None:
    good = bundles.release("1.0.0")
    bad = bundles.release("2.0.0", probe=bundles.FAILING)
    with ControlPlane.started(tmp_path) as server:
        device = Device.new(quick_path / "device", server.url)
        enrolment.enroll(device.state, server.url, server.enrolment_key(), "test")
        with device.process():

            def assignment(bundle: bundles.Bundle) -> tuple[str, str | None]:
                deployment = server.deploy(server.push(bundle.archive)["bundle_id"], [device.id])
                assert eventually(lambda: bool(server.deployment(deployment)["settled"]), 30)
                answer = server.operator.get(f"/api/v1/deployments/{deployment}/assignments").json()
                return answer["items"][0]["state"], answer["items"][0]["error_message"]

            assert assignment(good) == ("succeeded", None)
            assert assignment(bad) == ("rolled_back", "probe failed: speech 0 (needs >=0.8)")

            def detail() -> dict[str, Any]:
                return dict(server.operator.get(f"/api/v1/devices/{device.id}").json())

            assert eventually(lambda: detail()["apps"] == {"vad": "1.0.0"})  # told with the next heartbeat
            assert detail()["facts"]["os"] == "linux"
    assert device.works() == "1.0.0"
    assert device.left() == []


def test_a_device_without_a_key_works_once_it_is_approved(tmp_path: Path, quick_path: Path) -> None:
    with ControlPlane.started(tmp_path) as server:
        device = Device.new(quick_path / "device", server.url)
        said = enrolment.enroll(device.state, server.url, None, None)
        assert f"kernex device approve {device.id}" in said
        with device.running() as agent:
            assert eventually(lambda: agent._failures > 0)
        assert server.operator.post(f"/api/v1/devices/{device.id}/approve").status_code == 200
        with device.running():
            assert eventually(lambda: server.operator.get(f"/api/v1/devices/{device.id}").json()["online"])
