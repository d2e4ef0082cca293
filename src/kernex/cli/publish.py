"""From a directory to a bundle in the control plane, with progress."""

import tempfile
from pathlib import Path

from kernex.bundle.archive import Described
from kernex.bundle.build import build as pack
from kernex.cli import progress
from kernex.cli.client import ControlPlane
from kernex.wire.operator import BundleUploaded


def build(directory: Path, output: Path) -> Described:
    """Pack `directory` into the file `output`."""
    total = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    with progress.bar(f"packing {directory}", total) as advance:
        return pack(directory, output, progress=advance)


def push(control: ControlPlane, path: Path) -> BundleUploaded:
    """Send a bundle; a directory is packed first, beside nothing that lasts."""
    if path.is_dir():
        with tempfile.TemporaryDirectory(prefix="kernex-") as scratch:
            packed = Path(scratch, "bundle.tar.zst")
            build(path, packed)
            return _send(control, packed, f"sending {path}")
    return _send(control, path, f"sending {path}")


def _send(control: ControlPlane, file: Path, what: str) -> BundleUploaded:
    with progress.opened(file, what) as opened:
        return control.upload(opened, file.name)
