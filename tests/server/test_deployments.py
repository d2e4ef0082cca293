"""Deployments over real HTTP: waves, limits, aborts, and the long-poll that carries commands at once.

Run against a control plane on SQLite and against one on PostgreSQL.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine, text
from tests.archives import bundle
from tests.control_plane import ControlPlane
from tests.simulated import SimulatedDevice

from kernex.wire import paths

_numbers = count(1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def control_plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    url = ""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE deployments"))
        engine.dispose()
        url = server.replace("/postgres?", "/deployments?")
    with ControlPlane.started(tmp_path_factory.mktemp("control-plane"), database_url=url) as running:
        yield running


@pytest.fixture(scope="module")
def key(control_plane: ControlPlane) -> str:
    return control_plane.enrolment_key(uses=1000, labels={"site": "lyon"})


@pytest.fixture
def fleet(control_plane: ControlPlane, key: str) -> list[SimulatedDevice]:
    return [control_plane.device(key) for _ in range(4)]


@pytest.fixture
def stored(control_plane: ControlPlane) -> dict[str, Any]:
    return control_plane.push(bundle(f"1.0.{next(_numbers)}"))


def ids(devices: list[SimulatedDevice]) -> list[str]:
    return [device.device_id for device in devices]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


def offered(devices: list[SimulatedDevice]) -> int:
    return sum(1 for device in devices if device.commands())


def test_waves_open_one_after_the_other(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet), waves=[1, "50%", "100%"])
    for size in (1, 1, 2):
        until(lambda size=size: offered(fleet) == size)  # type: ignore[misc]
        for device in [device for device in fleet if device.commands()]:
            assert device.result(deployment_id, "success").status_code == 200
    until(lambda: control_plane.deployment(deployment_id)["status"] == "completed")
    shown = control_plane.deployment(deployment_id)
    assert [(wave["size"], wave["open"]) for wave in shown["waves"]] == [(1, True), (1, True), (2, True)]
    assert shown["settled"] is True


def test_the_first_failure_over_the_limit_stops_it_with_the_rest_untouched(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet), waves=[1, "100%"])
    [canary] = [device for device in fleet if device.commands()]
    canary.heartbeat(
        installs=[
            {
                "deployment_id": deployment_id,
                "phase": "rolled_back",
                "error": "probe failed: speech 0 (needs >=0.8)",
                "metrics": {"speech": 0.0},
            }
        ]
    )
    until(lambda: control_plane.deployment(deployment_id)["status"] == "aborted")
    shown = control_plane.deployment(deployment_id)
    assert shown["tally"] == {"rolled_back": 1, "cancelled": 3}
    assert shown["reason"] == "1 of 4 devices failed, at most 0 may"
    assert shown["settled"] is True
    assert offered(fleet) == 0
    shares = control_plane.operator.get(paths.ASSIGNMENTS.format(deployment_id=deployment_id)).json()["items"]
    [failed] = [share for share in shares if share["state"] == "rolled_back"]
    assert failed["error_message"] == "probe failed: speech 0 (needs >=0.8)"
    assert failed["metrics"] == {"speech": 0.0}


def test_failures_within_the_limit_do_not_stop_it(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet), waves=[2, "100%"], max_failures="25%")
    first, second = (device for device in fleet if device.commands())
    first.result(deployment_id, "failed", error_message="mine")
    second.result(deployment_id, "success")
    until(lambda: offered(fleet) == 2)
    for device in fleet:
        if device.commands():
            device.result(deployment_id, "success")
    until(lambda: control_plane.deployment(deployment_id)["status"] == "completed")


def test_an_abort_reaches_whoever_is_at_work_and_twice_is_once(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet[:2]), waves=[1, "100%"])
    [busy] = [device for device in fleet[:2] if device.commands()]
    at_work = [{"deployment_id": deployment_id, "phase": "downloading"}]
    assert busy.commands(installs=at_work) == []
    for _ in range(2):
        answer = control_plane.operator.post(paths.ABORT.format(deployment_id=deployment_id))
        assert answer.status_code == 200
        assert answer.json()["status"] == "aborted"
    assert busy.commands(installs=at_work) == [{"type": "cancel", "deployment_id": deployment_id}]
    assert control_plane.deployment(deployment_id)["settled"] is False
    assert busy.commands(installs=[{"deployment_id": deployment_id, "phase": "cancelled"}]) == []
    shown = control_plane.deployment(deployment_id)
    assert (shown["tally"], shown["settled"]) == ({"cancelled": 2}, True)


def test_a_completed_deployment_cannot_be_aborted(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
    fleet[0].result(deployment_id, "success")
    until(lambda: control_plane.deployment(deployment_id)["status"] == "completed")
    assert control_plane.operator.post(paths.ABORT.format(deployment_id=deployment_id)).status_code == 409


def test_a_contradicting_result_is_a_conflict_and_a_repeated_one_is_fine(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
    for status, code in (("success", 200), ("success", 200), ("failed", 409)):
        assert fleet[0].result(deployment_id, status).status_code == code
    assert control_plane.deployment(deployment_id)["tally"] == {"succeeded": 1}


def test_a_newer_deployment_supersedes_what_was_not_begun(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    old = control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
    assert fleet[0].commands()[0]["deployment_id"] == old
    newer = control_plane.push(bundle(f"1.0.{next(_numbers)}"))
    new = control_plane.deploy(newer["bundle_id"], ids(fleet[:1]))
    assert [command["deployment_id"] for command in fleet[0].commands()] == [new]
    assert control_plane.deployment(old)["tally"] == {"superseded": 1}


def test_a_waiting_device_hears_of_a_deployment_at_once(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fleet[0].heartbeat, wait_s=2)
        time.sleep(0.3)
        assert not waiting.done()
        deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
        created = time.monotonic()
        [command] = waiting.result().json()["commands"]
    assert command["deployment_id"] == deployment_id
    assert time.monotonic() - created < 1.0


def test_a_waiting_device_is_answered_when_its_time_is_over(fleet: list[SimulatedDevice]) -> None:
    begun = time.monotonic()
    answer = fleet[0].heartbeat(wait_s=1)
    assert answer.json()["commands"] == []
    assert time.monotonic() - begun >= 0.9


def test_a_waiting_heartbeat_is_let_go_when_its_device_has_news(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
    at_work = [{"deployment_id": deployment_id, "phase": "probing"}]
    with ThreadPoolExecutor(1) as pool, SimulatedDevice(control_plane.url) as second:
        begun = time.monotonic()
        waiting = pool.submit(fleet[0].heartbeat, wait_s=2, installs=at_work)
        time.sleep(0.3)
        second.act_as(fleet[0])
        assert second.result(deployment_id, "success").status_code == 200
        assert waiting.result().json()["commands"] == []
    assert time.monotonic() - begun < 1.5


def test_a_device_waits_with_one_heartbeat_at_a_time(fleet: list[SimulatedDevice]) -> None:
    with ThreadPoolExecutor(1) as pool, SimulatedDevice(fleet[0].url) as second:
        begun = time.monotonic()
        older = pool.submit(fleet[0].heartbeat, wait_s=2)
        time.sleep(0.3)
        second.act_as(fleet[0])
        assert second.heartbeat(wait_s=1).json()["commands"] == []
        assert older.result().json()["commands"] == []
    assert time.monotonic() - begun < 1.8


def test_a_selector_chooses_by_labels_and_facts(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    for number, device in enumerate(fleet):
        device.heartbeat(facts={"rack": f"r{stored['version']}", "gpu": {"memory_mb": 4000 * number}})
    body = {
        "bundle_version": stored["version"],
        "name": "vad",
        "selector": f"site=lyon,rack=r{stored['version']},gpu.memory_mb>=8000",
    }
    answer = control_plane.operator.post(paths.DEPLOYMENTS, json=body)
    assert answer.status_code == 201, answer.text
    shares = control_plane.operator.get(paths.ASSIGNMENTS.format(deployment_id=answer.json()["deployment_id"])).json()
    assert {share["device_id"] for share in shares["items"]} == set(ids(fleet[2:]))
    listed = control_plane.operator.get(paths.DEVICES, params={"selector": body["selector"], "limit": 1}).json()
    following = control_plane.operator.get(
        paths.DEVICES, params={"selector": body["selector"], "limit": 1, "after": listed["next"]}
    ).json()
    assert [one["device_id"] for one in listed["items"] + following["items"]] == ids(fleet[2:])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"target_device_ids": []}, 400, "target_device_ids is empty"),
        ({"target_device_ids": ["nobody"]}, 400, "no such device"),
        ({"selector": "site=nowhere"}, 400, "no accepted device matches"),
        ({"selector": "a b"}, 400, "cannot read the selector"),
        ({}, 400, "either target_device_ids or a selector"),
        ({"selector": "*", "target_device_ids": ["x"]}, 400, "either target_device_ids or a selector"),
        ({"selector": "*", "bundle_id": "none"}, 404, "cannot find the bundle"),
        ({"selector": "*", "bundle_id": None}, 400, "name a bundle"),
        ({"selector": "*", "strategy": {"waves": ["25%"]}}, 400, "end with 100%"),
        ({"selector": "*", "strategy": {"waves": ["x"]}}, 400, "write 5 or 25%"),
        ({"selector": "*", "stratgy": {}}, 400, "stratgy"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_the_way_out(
    control_plane: ControlPlane, stored: dict[str, Any], change: dict[str, Any], code: int, words: str
) -> None:
    answer = control_plane.operator.post(paths.DEPLOYMENTS, json={"bundle_id": stored["bundle_id"], **change})
    assert answer.status_code == code
    assert words in answer.json()["detail"]


def test_a_revoked_device_is_shut_out_at_once(control_plane: ControlPlane, fleet: list[SimulatedDevice]) -> None:
    device = fleet[0]
    assert device.heartbeat().status_code == 200
    revoked = control_plane.operator.post(paths.REVOKE.format(device_id=device.device_id))
    assert revoked.json()["status"] == "revoked"
    assert device.heartbeat().status_code == 403
    assert device.login().status_code == 401
    assert control_plane.operator.post(paths.APPROVE.format(device_id=device.device_id)).status_code == 409


def test_a_pending_device_waits_and_comes_in_when_approved(control_plane: ControlPlane) -> None:
    device = control_plane.device()
    assert device.register().json()["status"] == "pending"
    refused = device.login()
    assert refused.status_code == 403
    assert refused.json()["error"] == "pending_approval"
    assert int(refused.headers["Retry-After"]) > 0
    control_plane.operator.post(paths.APPROVE.format(device_id=device.device_id))
    assert device.login().status_code == 200
    assert device.commands() == []


@pytest.mark.parametrize("enrolment_key", ["kxe_wrong", "", "kxp_x"])
def test_a_wrong_enrolment_key_registers_nobody(control_plane: ControlPlane, enrolment_key: str) -> None:
    device = control_plane.device()
    assert device.register(enrolment_key=enrolment_key).status_code == 403
    assert device.register().status_code == 201  # the key pair is still free


@pytest.mark.parametrize(
    "body", ["not json", '{"installs": 5}', '{"installs": [{"phase": "flying"}]}', "[]", '{"cpu_pct": "x"}']
)
def test_a_heartbeat_that_is_none_is_a_clear_400(fleet: list[SimulatedDevice], body: str) -> None:
    answer = fleet[0].http.post(paths.HEARTBEAT.format(device_id=fleet[0].device_id), content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("cannot read the heartbeat")


def test_a_heartbeat_over_its_cap_is_refused(fleet: list[SimulatedDevice]) -> None:
    assert fleet[0].heartbeat(status="x" * 100_000).status_code == 413
    assert fleet[0].heartbeat(facts={"x": "y" * 20_000}).status_code == 400


def test_hostile_strings_are_stored_and_never_break_anything(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    hostile = "\x00\x1b[31m'; DROP TABLE device; -- \u2028 <script>"
    deployment_id = control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
    facts = {"note": hostile, hostile: {"nested": [hostile]}}
    apps = [{"name": hostile[:20], "version": hostile, "digest": ""}]
    assert fleet[0].heartbeat(status=hostile[:20], facts=facts, apps=apps).status_code == 200
    assert fleet[0].result(deployment_id, "failed", error_message=hostile).status_code == 200
    detail = control_plane.operator.get(paths.DEVICE.format(device_id=fleet[0].device_id)).json()
    assert detail["facts"] == facts
    assert "\x1b" not in detail["assignments"][0]["error_message"]


@pytest.mark.parametrize("deployment_id", ["a\u0000b", "\ud800", "'; DROP TABLE device; --", "", "x" * 64])
def test_a_report_on_a_deployment_that_cannot_be_breaks_nothing(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], deployment_id: str
) -> None:
    body = json.dumps({"installs": [{"deployment_id": deployment_id, "phase": "succeeded", "error": "\x00\ud800"}]})
    path = paths.HEARTBEAT.format(device_id=fleet[0].device_id)
    assert fleet[0].http.post(path, content=body).status_code in (200, 400)
    result = fleet[0].http.post(
        paths.RESULT.format(deployment_id=quote(deployment_id.encode("utf-8", "replace")) or "none"),
        json={"device_id": fleet[0].device_id, "status": "success"},
    )
    assert result.status_code in (400, 403, 404)
    assert fleet[0].heartbeat().status_code == 200


def test_ranges_of_a_bundle_add_up_to_the_whole(
    control_plane: ControlPlane, fleet: list[SimulatedDevice], stored: dict[str, Any]
) -> None:
    control_plane.deploy(stored["bundle_id"], ids(fleet[:1]))
    path = paths.BUNDLE.format(bundle_id=stored["bundle_id"])
    whole = fleet[0].http.get(path)
    size, etag = len(whole.content), whole.headers["etag"]
    parts = [
        fleet[0].http.get(path, headers={"Range": f"bytes={start}-{start + 99}", "If-Range": etag})
        for start in range(0, size, 100)
    ]
    assert {part.status_code for part in parts} == {206}
    assert b"".join(part.content for part in parts) == whole.content
    assert parts[0].headers["content-range"] == f"bytes 0-99/{size}"
    outside = fleet[0].http.get(path, headers={"Range": f"bytes={size}-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")
    head = fleet[0].http.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
