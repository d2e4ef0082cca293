"""Real bundles for the agent's tests: small, built by `kernex.bundle.build`, made of shell scripts."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernex.bundle import build
from kernex.domain.bundle import Digest

PASSING = """echo '{"ok": true, "metrics": {"speech": 0.9}}'"""
FAILING = """echo '{"ok": true, "metrics": {"speech": 0}}'"""
#: Says in the app's data directory which release was put to work last: what the device really runs.
MARKING = 'echo "$KERNEX_VERSION" > "$KERNEX_DATA/works"'


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as the control plane has it."""

    name: str
    version: str
    archive: bytes
    descriptor: bytes

    @property
    def digest(self) -> Digest:
        return Digest(hashlib.sha256(self.descriptor).hexdigest())

    @property
    def sha256(self) -> Digest:
        return Digest(hashlib.sha256(self.archive).hexdigest())


def make(
    version: str,
    name: str = "vad",
    *,
    files: dict[str, bytes | str] | None = None,
    links: dict[str, str] | None = None,
    **manifest: Any,
) -> Bundle:
    """A bundle with this manifest, these files and links (from path to target); ``*.sh`` are executable."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "bundle")
        root.mkdir()
        document = {"name": name, "version": version, **manifest}
        for path, content in {"manifest.json": json.dumps(document), **(files or {})}.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            file.chmod(0o755 if path.endswith(".sh") else 0o644)
        for path, target in (links or {}).items():
            (root / path).symlink_to(target)
        output = Path(directory, "bundle.tar.zst")
        described = build.build(root, output)
        return Bundle(name, version, output.read_bytes(), described.descriptor.encode())


def release(
    version: str,
    *,
    deploy: str = MARKING,
    deploy_timeout_s: float = 5.0,
    probe: str | None = PASSING,
    rollback: str | None = None,
    rollback_timeout_s: float = 5.0,
    run: list[str] | None = None,
    files: dict[str, bytes | str] | None = None,
    health: dict[str, Any] | None = None,
    **manifest: Any,
) -> Bundle:
    """A bundle from the text of its scripts."""
    scripts: dict[str, bytes | str] = {"deploy.sh": script(deploy)}
    manifest = {"deploy": {"script": "deploy.sh", "timeout_s": deploy_timeout_s}, **manifest}
    if probe is not None:
        scripts["probe.sh"] = script(probe)
        limits = {"deadline_s": 5, "interval_s": 0.02, "failures": 1, "thresholds": {"speech": ">=0.8"}}
        manifest["health"] = {"script": "probe.sh", **limits, **(health or {})}
    if rollback is not None:
        scripts["rollback.sh"] = script(rollback)
        manifest["rollback"] = {"script": "rollback.sh", "timeout_s": rollback_timeout_s}
    if run is not None:
        manifest["run"] = {"command": run, "stop_timeout_s": 2}
    return make(version, files={**scripts, **(files or {})}, **manifest)


def script(text: str) -> str:
    return f"#!/bin/sh\nset -e\n{text}\n"
