"""What the original did and what must never come back. Each was once reproduced; each stays refused."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from tests.archives import archive, bundle
from tests.control_plane import ControlPlane
from tests.simulated import SimulatedDevice

from kernex.trust import assertion
from kernex.trust.assertion import Purpose
from kernex.wire import paths


@pytest.fixture(scope="module")
def key(control_plane: ControlPlane) -> str:
    return control_plane.enrolment_key()


@pytest.fixture
def device(control_plane: ControlPlane, key: str) -> SimulatedDevice:
    return control_plane.device(key)


@pytest.fixture
def other(control_plane: ControlPlane, key: str) -> SimulatedDevice:
    return control_plane.device(key)


def test_heartbeat_result_and_download_need_a_credential(control_plane: ControlPlane, device: SimulatedDevice) -> None:
    stored = control_plane.push(bundle("1.0.0", "credential"))
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id])
    with control_plane.anonymous() as nobody:
        heartbeat = nobody.post(paths.HEARTBEAT.format(device_id=device.device_id), json={})
        result = nobody.post(
            paths.RESULT.format(deployment_id=deployment_id),
            json={"device_id": device.device_id, "status": "success"},
        )
        download = nobody.get(paths.BUNDLE.format(bundle_id=stored["bundle_id"]))
        descriptor = nobody.get(paths.DESCRIPTOR.format(bundle_id=stored["bundle_id"]))
    assert {one.status_code for one in (heartbeat, result, download, descriptor)} == {401}
    assert control_plane.deployment(deployment_id)["tally"] == {"pending": 1}


def test_no_device_speaks_for_another(
    control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice
) -> None:
    stored = control_plane.push(bundle("1.0.0", "impersonation"))
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id])
    heartbeat = other.http.post(paths.HEARTBEAT.format(device_id=device.device_id), json={})
    assert heartbeat.status_code == 403
    stolen = other.http.post(
        paths.RESULT.format(deployment_id=deployment_id), json={"device_id": device.device_id, "status": "success"}
    )
    assert stolen.status_code == 403
    hidden = other.heartbeat(installs=[{"deployment_id": deployment_id, "phase": "succeeded"}])
    assert hidden.status_code == 200
    assert control_plane.deployment(deployment_id)["tally"] == {"pending": 1}


def test_a_device_downloads_only_what_it_has_to_do_with(
    control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice
) -> None:
    stored = control_plane.push(bundle("1.0.0", "foreign"))
    control_plane.deploy(stored["bundle_id"], [device.device_id])
    for path in (paths.BUNDLE, paths.DESCRIPTOR):
        assert device.http.get(path.format(bundle_id=stored["bundle_id"])).status_code == 200
        assert other.http.get(path.format(bundle_id=stored["bundle_id"])).status_code == 404


def test_a_public_key_buys_no_credential(control_plane: ControlPlane, device: SimulatedDevice) -> None:
    """The key is public: whoever knows it gets nothing for it, neither the device's id nor a token."""
    with control_plane.anonymous() as thief:
        bare = thief.post(paths.REGISTER, json={"public_key": device.public_key.pem})
        assert bare.status_code == 401
        foreign = control_plane.device()
        nonce, issuer = foreign.nonce()
        forged = assertion.sign(
            foreign.private_key,
            Purpose.REGISTRATION,
            subject=device.public_key.thumbprint,
            audience=issuer,
            nonce=nonce,
        )
        proven = thief.post(paths.REGISTER, json={"public_key": device.public_key.pem, "proof": forged})
        assert proven.status_code == 401
    for answer in (bare, proven):
        assert device.device_id not in answer.text
        assert "token" not in answer.json()


def test_a_duplicate_registration_gets_its_id_back_and_no_credential(
    control_plane: ControlPlane, device: SimulatedDevice
) -> None:
    again = device.register()
    assert again.status_code == 409
    assert again.json()["device_id"] == device.device_id
    assert set(again.json()) <= {"type", "title", "status", "detail", "device_id"}


def test_many_registrations_of_one_key_make_one_device(control_plane: ControlPlane) -> None:
    twin = control_plane.device()
    proofs = [twin.proof() for _ in range(8)]
    barrier = threading.Barrier(8)

    def register(proof: str) -> int:
        barrier.wait()
        body = {"public_key": twin.public_key.pem, "proof": proof}
        return httpx2.post(control_plane.url + paths.REGISTER, json=body, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(register, proofs))
    assert codes == [201] + [409] * 7


def test_a_proof_and_an_assertion_work_once(control_plane: ControlPlane, device: SimulatedDevice) -> None:
    signed = device.assertion()
    first = device.http.post(paths.TOKEN, data={"client_assertion": signed})
    replayed = device.http.post(paths.TOKEN, data={"client_assertion": signed})
    assert (first.status_code, replayed.status_code) == (200, 401)
    newcomer = control_plane.device()
    body = {"public_key": newcomer.public_key.pem, "proof": newcomer.proof()}
    codes = [newcomer.http.post(paths.REGISTER, json=body).status_code for _ in range(2)]
    assert codes == [201, 401]


def test_nobody_makes_an_account_by_asking(control_plane: ControlPlane) -> None:
    with control_plane.anonymous() as nobody:
        for path in ("/api/v1/auth/register", "/api/v1/users", "/api/v1/auth/login", "/register"):
            assert nobody.post(path, json={"username": "mallory", "password": "p"}).status_code in (404, 405)
        assert nobody.post(paths.ENROLMENT_KEYS, json={}).status_code == 401


@pytest.mark.parametrize("secret", ["dev-only-secret-change-me", "secret", "", "0" * 64])
def test_no_default_secret_signs_a_token(control_plane: ControlPlane, device: SimulatedDevice, secret: str) -> None:
    header, claims = {"alg": "HS256", "typ": "at+jwt"}, {"sub": device.device_id, "did": 1, "exp": 2**31}
    if secret:
        forged = jwt.encode(header, claims, OctKey.import_key(secret.ljust(32, "0")))
    else:
        parts = (json.dumps({**header, "alg": "none"}), json.dumps(claims))
        forged = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."
    device.http.headers["Authorization"] = f"Bearer {forged}"
    assert device.heartbeat().status_code == 401


@pytest.mark.parametrize(
    "version", ["../traversal", "..", "a/b", "/etc/passwd", "1.0.0/../../x", "..\\x", "1.0\x00", "", " ", "é"]
)
def test_a_version_is_never_a_path(control_plane: ControlPlane, version: str) -> None:
    before = _tree(control_plane.data_dir)
    answer = control_plane.operator.post(paths.BUNDLES, files={"file": ("x", archive({"version": version}))})
    assert answer.status_code == 400
    assert _tree(control_plane.data_dir) == before
    assert not (control_plane.data_dir.parent / "traversal").exists()


@pytest.mark.parametrize("name", ["../vad", "a/b", "A", "vad.", "..", "x" * 65, "-vad"])
def test_a_name_is_never_a_path(control_plane: ControlPlane, name: str) -> None:
    manifest = {"version": "1.0.0", "name": name}
    assert control_plane.operator.post(paths.BUNDLES, files={"file": ("x", archive(manifest))}).status_code == 400


@pytest.mark.parametrize("file_name", ["../../evil.tar.gz", "/etc/cron.d/evil", "..\\evil", "a\x00b", "x" * 3000])
def test_a_file_name_from_a_client_is_never_used(control_plane: ControlPlane, file_name: str) -> None:
    before = {path for path in _tree(control_plane.data_dir.parent) if "/blobs/" not in path}
    content = bundle(f"1.0.{len(file_name)}", "filename")
    answer = control_plane.operator.post(paths.BUNDLES, files={"file": (file_name, content)})
    assert answer.status_code in (201, 400)
    assert {path for path in _tree(control_plane.data_dir.parent) if "/blobs/" not in path} == before


@pytest.mark.parametrize("member", ["../../evil", "/etc/evil", "a/../../evil"])
def test_an_archive_that_reaches_outside_is_refused(control_plane: ControlPlane, member: str) -> None:
    content = archive({"version": "1.0.0", "name": "outside"}, {member: b"evil"})
    answer = control_plane.operator.post(paths.BUNDLES, files={"file": ("x", content)})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("cannot ")


def test_a_refused_duplicate_leaves_the_stored_bytes_alone(control_plane: ControlPlane) -> None:
    good = bundle("1.0.0", "duplicate")
    stored = control_plane.push(good)
    evil = bundle("1.0.0", "duplicate", {"deploy.sh": b"#!/bin/sh\nrm -rf /\n"})
    answer = control_plane.operator.post(paths.BUNDLES, files={"file": ("x", evil)})
    assert answer.status_code == 409
    kept = control_plane.operator.get(paths.BUNDLE.format(bundle_id=stored["bundle_id"]))
    assert kept.content == good
    again = control_plane.operator.post(paths.BUNDLES, files={"file": ("x", good)})
    assert again.status_code == 200
    assert again.json() == stored


def test_an_upload_is_never_whole_in_memory(control_plane: ControlPlane) -> None:
    """256 MiB of upload raise the server's memory by far less than that."""
    size = 256 * 1024 * 1024
    control_plane.push(bundle("0.0.1", "warm-up"))
    before = _peak_memory(control_plane.process.pid)
    content = bundle("1.0.0", "large", {"noise": b"\0" * 1000})

    def body() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\n'
        for _ in range(size // 65536):
            yield b"x" * 65536
        yield b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content
        for _ in range(size // 65536):
            yield b"\0" * 65536
        yield b"\r\n--b--\r\n"

    answer = control_plane.operator.post(
        paths.BUNDLES, content=body(), headers={"Content-Type": "multipart/form-data; boundary=b"}, timeout=120
    )
    assert answer.status_code == 201  # zeros behind a gzip member are padding: all of it is stored
    assert _peak_memory(control_plane.process.pid) - before < 64 * 1024 * 1024


def test_a_site_behind_one_address_is_not_starved(control_plane: ControlPlane, key: str) -> None:
    """100 heartbeats and more in a few seconds from one IP address: a fleet behind NAT."""
    devices = [control_plane.device(key) for _ in range(4)]
    codes = {device.heartbeat().status_code for _ in range(50) for device in devices}
    assert codes == {200}


def test_the_first_device_decides_for_nobody_else(
    control_plane: ControlPlane, device: SimulatedDevice, other: SimulatedDevice
) -> None:
    stored = control_plane.push(bundle("1.0.0", "first-decides"))
    targets = [device.device_id, other.device_id]
    deployment_id = control_plane.deploy(stored["bundle_id"], targets, max_failures="100%")
    assert device.commands()[0]["deployment_id"] == deployment_id
    assert device.result(deployment_id, "failed", error_message="mine").status_code == 200
    time.sleep(1.5)  # more than a tick of the reconciler
    assert other.commands()[0]["deployment_id"] == deployment_id
    assert other.result(deployment_id, "success").status_code == 200
    assert control_plane.deployment(deployment_id)["tally"] == {"failed": 1, "succeeded": 1}


def test_a_lost_answer_loses_nothing(control_plane: ControlPlane, device: SimulatedDevice) -> None:
    stored = control_plane.push(bundle("1.0.0", "lost-answer"))
    deployment_id = control_plane.deploy(stored["bundle_id"], [device.device_id])
    for _ in range(3):
        assert [command["deployment_id"] for command in device.commands()] == [deployment_id]


def test_secrets_are_stored_as_hashes_only(control_plane: ControlPlane, key: str, device: SimulatedDevice) -> None:
    content = b"".join(path.read_bytes() for path in control_plane.data_dir.glob("kernex.db*"))
    for secret in (control_plane.token, key, device.token):
        assert secret.encode() not in content


def _tree(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*") if not path.name.startswith("kernex.db")}


def _peak_memory(pid: int) -> int:
    """VmHWM of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
