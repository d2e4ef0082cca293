"""A real control plane: the process that `kernex server run` starts, and an operator's client to it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
from tests.simulated import SimulatedDevice

from kernex.wire import paths


@dataclass(slots=True)
class ControlPlane:
    """A running server process. `operator` is an HTTP client with an admin's token."""

    process: subprocess.Popen[str]
    data_dir: Path
    url: str
    token: str
    operator: httpx2.Client
    devices: list[SimulatedDevice] = field(default_factory=list)

    @classmethod
    @contextmanager
    def started(cls, data_dir: Path, *options: str, port: int = 0, database_url: str = "") -> Iterator[Self]:
        """Start one with `options` beside the usual ones; stopped when the block is left."""
        store = ["--data-dir", str(data_dir), "--database-url", database_url]
        token = _server("token", "create", "--role", "admin", *store).stdout.strip()
        usual = ["--port", str(port), "--heartbeat-interval", "1", "--long-poll", "2"]
        process = subprocess.Popen(
            [sys.executable, "-m", "kernex.server", "run", *store, *usual, *options],
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        url = _listening(process)
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as operator:
            running = cls(process, data_dir, url, token, operator)
            try:
                yield running
            finally:
                running.stop()

    def device(self, key: str | None = None) -> SimulatedDevice:
        """A new simulated device, enrolled if there is a key to do it with; closed with the server."""
        device = SimulatedDevice(self.url)
        self.devices.append(device)
        return device if key is None else device.enrolled(key)

    def stop(self) -> None:
        """SIGTERM, as an init system would."""
        for device in self.devices:
            device.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def anonymous(self) -> httpx2.Client:
        """A client without any credential."""
        return httpx2.Client(base_url=self.url, timeout=30)

    def with_role(self, role: str) -> httpx2.Client:
        """A client with a new token of this role."""
        made = _server("token", "create", "--role", role, "--data-dir", str(self.data_dir)).stdout.strip()
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {made}"}, timeout=30)

    def push(self, archive: bytes, manifest: str | None = None) -> dict[str, Any]:
        """Upload a bundle that has to be taken."""
        data = {} if manifest is None else {"manifest": manifest}
        answer = self.operator.post(paths.BUNDLES, files={"file": ("bundle.tar.zst", archive)}, data=data)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def deploy(self, bundle_id: str, device_ids: list[str], **strategy: Any) -> str:
        """Start a deployment that has to be taken; its id."""
        body: dict[str, Any] = {"bundle_id": bundle_id, "target_device_ids": device_ids}
        if strategy:
            body["strategy"] = strategy
        answer = self.operator.post(paths.DEPLOYMENTS, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["deployment_id"])

    def enrolment_key(self, **options: Any) -> str:
        body = {"uses": 100, "auto_approve": True, **options}
        answer = self.operator.post(paths.ENROLMENT_KEYS, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        return dict(self.operator.get(paths.DEPLOYMENT.format(deployment_id=deployment_id)).json())


def _server(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kernex.server", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _listening(process: subprocess.Popen[str]) -> str:
    """The URL from the line that the server logs when it is ready."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if re.search(r'"event": ?"listening"', line):
            return str(json.loads(line)["url"])
    raise AssertionError(f"the server did not start: {''.join(seen)}")
