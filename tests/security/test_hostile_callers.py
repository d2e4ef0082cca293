"""What a hostile device or a stranger may try: everybody else is still answered, and nothing is told or kept."""

import base64
import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.archives import bundle
from tests.control_plane import ControlPlane
from tests.simulated import SimulatedDevice

from kernex.trust import assertion
from kernex.trust.assertion import Purpose
from kernex.wire import paths

NESTED = "[" * 5000 + "]" * 5000


@pytest.fixture
def fleet(control_plane: ControlPlane) -> list[SimulatedDevice]:
    key = control_plane.enrolment_key()
    return [control_plane.device(key) for _ in range(3)]


def test_one_device_takes_nobody_elses_answer(control_plane: ControlPlane, fleet: list[SimulatedDevice]) -> None:
    """It names one deployment twice in a heartbeat, from several connections, all the time."""
    hostile, innocent, _ = fleet
    stored = control_plane.push(bundle("1.0.0", "batch"))
    deployment_id = control_plane.deploy(stored["bundle_id"], [hostile.device_id])
    twice = [{"deployment_id": deployment_id, "phase": phase} for phase in ("downloading", "probing")]
    over = threading.Event()

    def attack() -> None:
        with SimulatedDevice(control_plane.url) as connection:
            connection.act_as(hostile)
            while not over.is_set():
                connection.heartbeat(installs=twice)

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    codes = {innocent.heartbeat().status_code for _ in range(100)}
    over.set()
    for attacker in attackers:
        attacker.join()
    assert codes == {200}


def test_reports_on_foreign_deployments_fill_no_disk(control_plane: ControlPlane, fleet: list[SimulatedDevice]) -> None:
    database = control_plane.data_dir / "kernex.db-wal"
    fleet[0].heartbeat()
    before = database.stat().st_size
    for turn in range(20):
        invented = [{"deployment_id": f"{turn}-{number}", "phase": "succeeded"} for number in range(60)]
        assert fleet[0].heartbeat(installs=invented).status_code == 200
    assert database.stat().st_size - before < 200_000  # the WAL; 1,200 rows would be more


@pytest.mark.parametrize("path", [paths.REGISTER, paths.DEPLOYMENTS, paths.ENROLMENT_KEYS])
def test_deeply_nested_json_is_a_400(control_plane: ControlPlane, path: str) -> None:
    answer = control_plane.operator.post(path, content=NESTED, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_a_deeply_nested_heartbeat_is_a_400(fleet: list[SimulatedDevice]) -> None:
    path = paths.HEARTBEAT.format(device_id=fleet[0].device_id)
    assert fleet[0].http.post(path, content=f'{{"facts": {{"a": {NESTED}}}}}').status_code == 400


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b; charset=foo", b"--b--\r\n"),
        ("application/json", b"{}"),
    ],
)
def test_the_token_route_reads_forms_only(control_plane: ControlPlane, kind: str, body: bytes) -> None:
    with control_plane.anonymous() as stranger:
        answer = stranger.post(paths.TOKEN, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400


@pytest.mark.parametrize("subject", ["x" * 65, "é", ""])
def test_an_assertion_of_nobody_is_a_401(control_plane: ControlPlane, subject: str) -> None:
    device = control_plane.device()
    nonce, issuer = device.nonce()
    signed = assertion.sign(device.private_key, Purpose.LOGIN, subject=subject, audience=issuer, nonce=nonce)
    assert device.http.post(paths.TOKEN, data={"client_assertion": signed}).status_code == 401


def test_an_assertion_of_half_a_character_is_a_401(control_plane: ControlPlane) -> None:
    claims = base64.urlsafe_b64encode(b'{"sub":"\\ud800"}').decode().rstrip("=")
    device = control_plane.device()
    assert device.http.post(paths.TOKEN, data={"client_assertion": f"e30.{claims}.x"}).status_code == 401


def test_headers_without_an_end_are_not_held(control_plane: ControlPlane) -> None:
    address = urlsplit(control_plane.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Endless: ")
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                connection.sendall(b"x" * 65536)


def test_no_credential_is_logged_when_something_goes_wrong(tmp_path: Path) -> None:
    """A row is damaged under a running server: whatever it logs of that, no token is in it."""
    with ControlPlane.started(tmp_path) as server:
        device = server.device(server.enrolment_key())
        with closing(sqlite3.connect(tmp_path / "kernex.db")) as database:
            database.execute("UPDATE device SET facts = 'not JSON'")
            database.commit()
        detail = paths.DEVICE.format(device_id=device.device_id)
        answer = server.operator.get(detail)
        assert answer.status_code == 500, answer.text
        tokens = (server.token, device.token)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stderr is not None
        logged = server.process.stderr.read()
    assert "unexpected error" in logged
    for token in tokens:
        assert token not in logged


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """SIGKILL right behind each acknowledgement; the next process has it."""
    for number in range(2):
        with ControlPlane.started(tmp_path) as server:
            device = server.device(server.enrolment_key())
            stored = server.push(bundle(f"1.0.{number}", "killed"))
            deployment_id = server.deploy(stored["bundle_id"], [device.device_id])
            assert device.result(deployment_id, "success").status_code == 200
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(10)
        with ControlPlane.started(tmp_path) as again:
            listed = again.operator.get(paths.DEVICES).json()["items"]
            assert device.device_id in [one["device_id"] for one in listed]
            assert again.deployment(deployment_id)["tally"] == {"succeeded": 1}
            kept = again.operator.get(paths.BUNDLE.format(bundle_id=stored["bundle_id"]))
            assert kept.status_code == 200


def test_an_upload_that_a_kill_cut_leaves_nothing(tmp_path: Path) -> None:
    with ControlPlane.started(tmp_path) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
            head = (
                f"POST {paths.BUNDLES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000000\r\n\r\n"
                '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
            )
            connection.sendall(head.encode() + b"x" * 4_000_000)
            deadline = time.monotonic() + 10
            while not any((tmp_path / "incoming").iterdir()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(10)
    assert any((tmp_path / "incoming").iterdir())
    with ControlPlane.started(tmp_path):
        assert list((tmp_path / "incoming").iterdir()) == []
