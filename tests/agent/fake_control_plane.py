"""A control plane at the seam: real sockets and the real wire, and any misbehaviour that a test asks for."""

import hashlib
import re
import secrets
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

import msgspec
from tests.agent.bundles import Bundle

from kernex.trust import assertion
from kernex.trust.assertion import PublicKey, Purpose
from kernex.wire import paths, problem
from kernex.wire.device import (
    AccessToken,
    Heartbeat,
    HeartbeatReply,
    InstallReport,
    Registered,
    Registration,
    Result,
    ResultAccepted,
)

#: Handles a request in place of the fake; True when the fake shall go on as usual after it.
Fault = Callable[["Handler"], bool]

_ROUTES = {
    "register": re.compile(re.escape(paths.REGISTER)),
    "token": re.compile(re.escape(paths.TOKEN)),
    "heartbeat": re.compile(paths.HEARTBEAT.replace("{device_id}", "([^/]+)")),
    "descriptor": re.compile(paths.DESCRIPTOR.replace("{bundle_id}", "([^/]+)")),
    "archive": re.compile(paths.BUNDLE.replace("{bundle_id}", "([^/]+)")),
    "result": re.compile(paths.RESULT.replace("{deployment_id}", "([^/]+)")),
}


@dataclass
class FakeControlPlane:
    """What it was told, what it will say. Tests read and write the fields."""

    server: "_Server"
    issuer: str = "fake"
    interval_s: float = 0.05
    long_poll_s: float = 0.0
    admission: str = "accepted"
    bundles: dict[str, Bundle] = field(default_factory=dict)
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)  # by deployment, until it has an outcome
    extra_commands: list[Any] = field(default_factory=list)  # in every reply
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))  # by route, one a request
    devices: dict[str, str] = field(default_factory=dict)  # thumbprint -> id
    keys: dict[str, PublicKey] = field(default_factory=dict)  # id -> key
    nonces: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)  # token -> id
    logins: int = 0
    registrations: list[Registration] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    prefer: list[str | None] = field(default_factory=list)
    results: list[tuple[str, Result]] = field(default_factory=list)
    outcomes: dict[str, InstallReport] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # route and headers
    mistakes: list[BaseException] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        server = _Server(("127.0.0.1", 0), Handler)
        server.fake = fake = cls(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert not fake.mistakes, fake.mistakes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def offer(self, bundle: Bundle, **changes: Any) -> str:
        """Deploy a bundle; `changes` are to the command. The deployment's id."""
        deployment_id, bundle_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.bundles[bundle_id] = bundle
        self.commands[deployment_id] = {
            "type": "deploy",
            "deployment_id": deployment_id,
            "bundle_id": bundle_id,
            "bundle_name": bundle.name,
            "bundle_version": bundle.version,
            "digest": str(bundle.digest),
            "checksum_sha256": str(bundle.sha256),
            "size_bytes": len(bundle.archive),
            **changes,
        }
        return deployment_id

    def cancel(self, deployment_id: str) -> None:
        self.commands[deployment_id] = {"type": "cancel", "deployment_id": deployment_id}

    def wait(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Until `condition` holds; it is asked after every request."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not condition():
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"timed out; {self.mistakes[-1:]}; the last heartbeat was {self.heartbeats[-1:]}"
                    )
                self.changed.wait(0.05)

    def outcome(self, deployment_id: str, timeout_s: float = 20.0) -> InstallReport:
        """How the deployment ended, once it did."""
        self.wait(lambda: deployment_id in self.outcomes, timeout_s)
        return self.outcomes[deployment_id]

    def phases(self, deployment_id: str) -> list[str]:
        """The phases that heartbeats told, in order, repetitions left out."""
        told = [
            one.phase for beat in self.heartbeats for one in beat.installs or [] if one.deployment_id == deployment_id
        ]
        return [phase for before, phase in zip([None, *told], told, strict=False) if phase != before]

    def ranges(self) -> list[str | None]:
        """The Range header of every download, in order."""
        return [headers.get("Range") for route, headers in self.requests if route == "archive"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeControlPlane

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Devices hang up; that is their right. Anything else is a mistake of the test."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.fake.mistakes.append(error)


class Handler(BaseHTTPRequestHandler):
    """One connection of a device."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms for an acknowledgement
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Quiet."""

    @property
    def fake(self) -> FakeControlPlane:
        return self.server.fake

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def fail(
        self, status: int, detail: str = "", *, error: str | None = None, device_id: str | None = None, **headers: str
    ) -> None:
        said = problem.Problem("Error", status, detail, error, device_id)
        self.send(status, msgspec.json.encode(said), Content_Type=problem.MEDIA_TYPE, **headers)

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if len(self.body) < int(self.headers.get("Content-Length", 0)):
            self.close_connection = True  # the device hung up while it spoke
            return
        for route, pattern in _ROUTES.items():
            if match := pattern.fullmatch(self.path):
                with self.fake.changed:
                    self.fake.requests.append((route, dict(self.headers.items())))
                    fault = self.fake.faults[route].pop(0) if self.fake.faults[route] else None
                if fault is None or fault(self):
                    getattr(self, f"_{route}")(*match.groups())
                with self.fake.changed:
                    self.fake.changed.notify_all()
                return
        self.fail(404, "cannot find it")

    def _use_nonce(self) -> None:
        nonce = secrets.token_urlsafe(16)
        self.fake.nonces.add(nonce)
        headers = {problem.NONCE_HEADER: nonce, problem.ISSUER_HEADER: self.fake.issuer}
        self.fail(401, "sign the nonce", error=problem.USE_NONCE, **headers)

    def _register(self) -> None:
        registration = msgspec.json.decode(self.body, type=Registration)
        if not registration.proof:
            self._use_nonce()
            return
        key = PublicKey.parse(registration.public_key)
        nonce = assertion.verify(
            registration.proof, key, Purpose.REGISTRATION, subject=key.thumbprint, audience=self.fake.issuer
        )
        self.fake.nonces.remove(nonce)
        self.fake.registrations.append(registration)
        if key.thumbprint in self.fake.devices:
            self.fail(409, "cannot register this key again", device_id=self.fake.devices[key.thumbprint])
            return
        device_id = self.fake.devices[key.thumbprint] = str(uuid.uuid4())
        self.fake.keys[device_id] = key
        self.send(201, msgspec.json.encode(Registered(device_id, self.fake.admission)))

    def _token(self) -> None:
        form = {name: values[0] for name, values in parse_qs(self.body.decode()).items()}
        assert form["grant_type"] == "client_credentials"
        if "client_assertion" not in form:
            self._use_nonce()
            return
        jws = form["client_assertion"]
        device_id = assertion.claimed_subject(jws)
        nonce = assertion.verify(
            jws, self.fake.keys[device_id], Purpose.LOGIN, subject=device_id, audience=self.fake.issuer
        )
        if nonce not in self.fake.nonces:
            self._use_nonce()
            return
        self.fake.nonces.remove(nonce)
        if self.fake.admission == "pending":
            self.fail(403, "cannot log in yet", error=problem.PENDING_APPROVAL, Retry_After="0")
            return
        self.fake.logins += 1
        token = secrets.token_urlsafe(16)
        self.fake.tokens[token] = device_id
        self.send(200, msgspec.json.encode(AccessToken(token, 3600)))

    def _device(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        device_id = self.fake.tokens.get(token)
        if device_id is None:
            self.fail(401, "cannot take the token", error=problem.INVALID_CLIENT)
        return device_id

    def _heartbeat(self, device_id: str) -> None:
        if self._device() is None:
            return
        heartbeat = msgspec.json.decode(self.body, type=Heartbeat)
        fake = self.fake
        with fake.changed:
            fake.heartbeats.append(heartbeat)
            fake.prefer.append(self.headers.get("Prefer"))
            for report in heartbeat.installs or []:
                if report.phase.final:
                    self._ended(report)
            commands = [*fake.commands.values(), *fake.extra_commands]
            reply = HeartbeatReply(commands, fake.interval_s, fake.long_poll_s)
        self.send(200, msgspec.json.encode(reply))

    def _result(self, deployment_id: str) -> None:
        if (device_id := self._device()) is None:
            return
        result = msgspec.json.decode(self.body, type=Result)
        assert result.device_id == device_id
        phase = "succeeded" if result.status == "success" else result.outcome or "failed"
        report = msgspec.convert(
            {"deployment_id": deployment_id, "phase": phase, "error": result.error_message, "metrics": result.metrics},
            InstallReport,
        )
        with self.fake.changed:
            self.fake.results.append((deployment_id, result))
            self._ended(report)
        self.send(200, msgspec.json.encode(ResultAccepted(success=True, deployment_id=deployment_id)))

    def _ended(self, report: InstallReport) -> None:
        before = self.fake.outcomes.setdefault(report.deployment_id, report)
        if before.phase == "succeeded" and report.phase in {"rolled_back", "broken"}:
            self.fake.outcomes[report.deployment_id] = report  # its probation ended badly
        else:
            assert before.phase == report.phase, "two outcomes for one deployment"
        self.fake.commands.pop(report.deployment_id, None)

    def _descriptor(self, bundle_id: str) -> None:
        if self._device() is not None:
            self.send(200, self.fake.bundles[bundle_id].descriptor)

    def _archive(self, bundle_id: str) -> None:
        if self._device() is None:
            return
        archive = self.fake.bundles[bundle_id].archive
        etag = f'"{hashlib.sha256(archive).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range") == etag:
            start = int(wanted[1])
            content_range = f"bytes {start}-{len(archive) - 1}/{len(archive)}"
            self.send(206, archive[start:], ETag=etag, Content_Range=content_range)
        else:
            self.send(200, archive, ETag=etag)


# --- Faults


def refuse(status: int, detail: str = "not now", **headers: str) -> Fault:
    """Answer with this error."""

    def fault(handler: Handler) -> bool:
        handler.fail(status, detail, **headers)
        return False

    return fault


def say(body: bytes, status: int = 200, **headers: str) -> Fault:
    """Answer with these bytes, whatever they are."""

    def fault(handler: Handler) -> bool:
        handler.send(status, body, **headers)
        return False

    return fault


def hang_up(handler: Handler) -> bool:
    """Close the connection without a word."""
    handler.close_connection = True
    return False


def lose_answer(handler: Handler) -> bool:
    """Do what was asked, and let the answer get lost."""
    handler.wfile = _Nowhere()  # type: ignore[assignment]  # a sink is all that is written to
    handler.close_connection = True
    return True


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    closed = False


def flood(handler: Handler) -> bool:
    """Send without end and without saying how much."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65536)
    handler.close_connection = True
    return False


def cut(after: int) -> Fault:
    """Send the archive's range as asked, but only `after` bytes of it."""

    def fault(handler: Handler) -> bool:
        match = _ROUTES["archive"].fullmatch(handler.path)
        assert match is not None
        archive = handler.fake.bundles[match[1]].archive
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        handler.send_response(206 if wanted else 200)
        if wanted:
            handler.send_header("Content-Range", f"bytes {start}-{len(archive) - 1}/{len(archive)}")
        handler.send_header("Content-Length", str(len(archive) - start))
        handler.end_headers()
        handler.wfile.write(archive[start : start + after])
        handler.close_connection = True
        return False

    return fault


def slowly(seconds: float) -> Fault:
    """Wait, then go on as usual."""

    def fault(handler: Handler) -> bool:
        time.sleep(seconds)
        return True

    return fault
