"""Bundles for tests of the control plane: small archives made in memory."""

import io
import json
import tarfile
from typing import Any


def archive(manifest: dict[str, Any] | bytes | None, files: dict[str, bytes] | None = None) -> bytes:
    """A tar.gz with this manifest.json (None leaves it out) and these files."""
    members = dict(files or {})
    if manifest is not None:
        raw = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        members = {"manifest.json": raw, **members}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def bundle(version: str, name: str = "vad", files: dict[str, bytes] | None = None, **fields: Any) -> bytes:
    """A bundle that a device could install."""
    content = {"deploy.sh": b"#!/bin/sh\nexit 0\n", **(files or {})}
    return archive({"name": name, "version": version, "deploy": {"script": "deploy.sh"}, **fields}, content)
