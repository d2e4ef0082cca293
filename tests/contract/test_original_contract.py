"""The contract that Kernex grew from, row by row, over real HTTP against a real server process."""

import hashlib
import json
import time
import uuid
from itertools import count
from typing import Any

import pytest
from tests.archives import archive, bundle
from tests.control_plane import ControlPlane
from tests.simulated import SimulatedDevice

from kernex.wire import paths

_numbers = count(1)


def fresh_version() -> str:
    return f"1.0.{next(_numbers)}"


@pytest.fixture(scope="module")
def key(control_plane: ControlPlane) -> str:
    return control_plane.enrolment_key()


@pytest.fixture
def device(control_plane: ControlPlane, key: str) -> SimulatedDevice:
    return control_plane.device(key)


@pytest.fixture
def other(control_plane: ControlPlane, key: str) -> SimulatedDevice:
    return control_plane.device(key)


@pytest.fixture
def stored(control_plane: ControlPlane) -> dict[str, Any]:
    return control_plane.push(bundle(fresh_version()))


def test_registering_answers_201_with_a_uuid(control_plane: ControlPlane) -> None:
    answer = control_plane.device().register(device_type="jetson", hardware_metadata={"ram_gb": 8})
    assert answer.status_code == 201
    uuid.UUID(answer.json()["device_id"])
    assert answer.json()["status"] == "pending"


def test_the_same_key_again_answers_409(control_plane: ControlPlane) -> None:
    device = control_plane.device()
    assert device.register().status_code == 201
    assert device.register().status_code == 409


def test_a_heartbeat_answers_commands(device: SimulatedDevice) -> None:
    answer = device.heartbeat(status="idle", cpu_pct=12.5, memory_mb=512.0)
    assert answer.status_code == 200
    assert answer.json()["commands"] == []
    assert answer.json()["next_heartbeat_s"] > 0


def test_devices_are_listed(control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice) -> None:
    answer = control_plane.operator.get(paths.DEVICES, params={"limit": 500})
    assert answer.status_code == 200
    assert {device.device_id, other.device_id} <= {one["device_id"] for one in answer.json()["items"]}


def test_a_device_has_a_detail(control_plane: ControlPlane, key: str) -> None:
    device = control_plane.device()
    device.register(enrolment_key=key, device_type="jetson", hardware_metadata={"ram_gb": 8})
    answer = control_plane.operator.get(paths.DEVICE.format(device_id=device.device_id))
    assert answer.status_code == 200
    assert answer.json()["device_type"] == "jetson"
    assert answer.json()["hardware_metadata"] == {"ram_gb": 8}
    missing = control_plane.operator.get(paths.DEVICE.format(device_id=uuid.uuid4()))
    assert missing.status_code == 404


def test_a_heartbeat_updates_last_heartbeat(control_plane: ControlPlane, device: SimulatedDevice) -> None:
    path = paths.DEVICE.format(device_id=device.device_id)
    assert control_plane.operator.get(path).json()["last_heartbeat"] is None
    device.heartbeat(status="idle", cpu_pct=3.0)
    deadline = time.monotonic() + 10  # written behind by two seconds at most
    while (detail := control_plane.operator.get(path).json())["last_heartbeat"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert detail["online"] is True
    assert detail["cpu_pct"] == 3.0


def test_a_pending_deployment_comes_with_the_heartbeat_of_every_target(
    control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice, stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id, other.device_id])
    wanted = {
        "type": "deploy",
        "deployment_id": deployment_id,
        "bundle_id": stored["bundle_id"],
        "bundle_version": stored["version"],
    }
    for target in (device, other, device):  # also after another target has polled, and again if the answer was lost
        [command] = target.commands()
        assert wanted.items() <= command.items()


def test_a_bundle_is_uploaded_and_listed(control_plane: ControlPlane) -> None:
    version = fresh_version()
    content = bundle(version)
    answer = control_plane.operator.post(paths.BUNDLES, files={"file": ("model.tar.gz", content)})
    assert answer.status_code == 201
    assert answer.json()["version"] == version
    assert answer.json()["checksum_sha256"] == hashlib.sha256(content).hexdigest()
    listed = control_plane.operator.get(paths.BUNDLES).json()["items"]
    assert answer.json()["bundle_id"] in [one["bundle_id"] for one in listed]


def test_a_manifest_beside_the_archive_has_to_agree_with_the_one_inside(control_plane: ControlPlane) -> None:
    version = fresh_version()
    content = {"version": version, "name": "beside"}
    control_plane.push(archive(content), manifest=json.dumps(content))
    other = control_plane.operator.post(
        paths.BUNDLES,
        files={"file": ("x", archive({"version": fresh_version(), "name": "beside"}))},
        data={"manifest": json.dumps(content)},
    )
    assert other.status_code == 400
    assert "differs from manifest.json" in other.json()["detail"]


def test_a_download_returns_the_file_with_its_type_and_name(
    control_plane: ControlPlane, device: SimulatedDevice
) -> None:
    content = bundle(fresh_version())
    stored = control_plane.push(content)
    control_plane.deploy(stored["bundle_id"], [device.device_id])
    answer = device.http.get(paths.BUNDLE.format(bundle_id=stored["bundle_id"]))
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert f'filename="vad-{stored["version"]}' in answer.headers["content-disposition"]


def test_success_ends_the_assignment_and_when_all_are_done_the_deployment(
    control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice, stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id, other.device_id])
    answer = device.result(deployment_id, "success")
    assert answer.status_code == 200
    assert answer.json() == {"success": True, "deployment_id": deployment_id}
    assert control_plane.deployment(deployment_id)["status"] == "running"
    assert other.commands() != []
    assert other.result(deployment_id, "success").status_code == 200
    deadline = time.monotonic() + 10
    while (shown := control_plane.deployment(deployment_id))["status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert shown["tally"] == {"succeeded": 2}


def test_failed_keeps_the_error_message(
    control_plane: ControlPlane, device: SimulatedDevice, stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id])
    answer = device.result(deployment_id, "failed", error_message="the script ended with 3")
    assert answer.status_code == 200
    [share] = control_plane.operator.get(paths.ASSIGNMENTS.format(deployment_id=deployment_id)).json()["items"]
    assert share["state"] == "failed"
    assert share["error_message"] == "the script ended with 3"


def test_a_device_that_is_no_target_gets_403(
    control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice, stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id])
    assert other.result(deployment_id, "success").status_code == 403
    assert other.commands() == []


@pytest.mark.parametrize("status", ["done", "", "SUCCESS", "rolled_back"])
def test_another_status_gets_400(
    control_plane: ControlPlane, device: SimulatedDevice, stored: dict[str, Any], status: str
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id])
    answer = device.result(deployment_id, status)
    assert answer.status_code == 400
    assert "say success or failed" in answer.json()["detail"]


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b'{"name": "vad"}',
        b"not json",
        b"",
        b"[]",
        b"null",
        b'"1.0.0"',
        b'{"version": 1}',
        b'{"version": null}',
        b'{"version": "1", "version": "2"}',
        b'{"version": "1", "deploy": 5}',
        b"\xff\xfe",
        b'{"version": NaN}',
        b"[" * 5000,
    ],
)
def test_a_manifest_that_is_none_is_a_clear_400(control_plane: ControlPlane, manifest: bytes) -> None:
    answer = control_plane.operator.post(paths.BUNDLES, files={"file": ("x", archive(manifest))})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("cannot ")


@pytest.mark.parametrize(
    "model", [None, 5, "text", [], ["a"], {}, {"name": None}, {"name": 7}, {"name": {"deep": []}}, {"name": "silero"}]
)
def test_model_may_be_of_any_shape(control_plane: ControlPlane, model: Any) -> None:
    stored = control_plane.push(archive({"version": fresh_version(), "name": "any", "model": model}))
    listed = control_plane.operator.get(paths.BUNDLES, params={"name": "any", "version": stored["version"]}).json()
    expected = model.get("name") if isinstance(model, dict) and isinstance(model.get("name"), str) else None
    assert listed["items"][0]["model_name"] == expected


def test_a_name_is_not_required(control_plane: ControlPlane) -> None:
    assert control_plane.push(archive({"version": fresh_version()}))["name"] == "default"
