"""The demo's mistake is real: the same wrapper hears with one version of the model, and not with the next."""

import hashlib
import json
import os
import subprocess
import sys
import wave
import zipfile
from pathlib import Path

import pytest

from kernex.bundle.build import build
from kernex.cli.demo import models
from kernex.cli.demo.bundles import BAD, FIXED, GOOD, Release
from kernex.cli.demo.models import SHA256, cached
from kernex.domain.errors import RejectedError


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of the three releases, with the real models."""
    root = tmp_path_factory.mktemp("releases")
    return {
        release.version: release.lay_out(cached(release.model), root / release.ref) for release in (GOOD, BAD, FIXED)
    }


@pytest.mark.parametrize(("release", "low", "high"), [(GOOD, 0.85, 0.95), (BAD, 0.0, 0.0), (FIXED, 0.82, 0.95)])
def test_the_probe_measures_what_the_story_needs(
    laid_out: dict[str, Path], release: Release, low: float, high: float
) -> None:
    done = subprocess.run(
        [sys.executable, "probe.py"], cwd=laid_out[release.version], capture_output=True, text=True, check=True
    )
    assert done.stderr == "", "an honest mistake makes no noise"
    verdict = json.loads(done.stdout)
    assert verdict["ok"] is True
    assert low <= verdict["metrics"]["speech"] <= high
    assert verdict["metrics"]["frames"] > 200


def test_from_good_to_bad_only_the_model_changes_and_from_bad_to_fixed_only_the_wrapper(
    laid_out: dict[str, Path],
) -> None:
    def differing(one: Release, other: Release) -> set[str]:
        ours, theirs = laid_out[one.version], laid_out[other.version]
        names = {path.name for path in ours.iterdir() if path.is_file()}
        assert names == {path.name for path in theirs.iterdir() if path.is_file()}
        return {name for name in names if (ours / name).read_bytes() != (theirs / name).read_bytes()}

    assert differing(GOOD, BAD) == {"manifest.json", "model.onnx"}
    assert differing(BAD, FIXED) == {"manifest.json", "vad.py"}


def test_the_service_writes_its_score_where_data_outlives_a_release(laid_out: dict[str, Path], tmp_path: Path) -> None:
    score = tmp_path / "score.json"
    with subprocess.Popen(
        [sys.executable, "serve.py"], cwd=laid_out["1.0.0"], env={**os.environ, "KERNEX_DATA": str(tmp_path)}
    ) as service:
        try:
            while not score.exists():
                assert service.poll() is None
            assert json.loads(score.read_text())["speech"] > 0.85
        finally:
            service.terminate()


def test_all_three_are_bundles(laid_out: dict[str, Path], tmp_path: Path) -> None:
    for version, directory in laid_out.items():
        described = build(directory, tmp_path / f"{version}.tar.zst")
        assert str(described.manifest.ref) == f"vad=={version}"
        assert described.manifest.model["version"] in SHA256
        assert described.manifest.run is not None


def test_the_clip_is_small_and_what_the_model_wants() -> None:
    clip = Path(models.__file__).parent / "vad" / "speech.wav"
    assert clip.stat().st_size <= 300_000
    with wave.open(str(clip)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)


def test_an_installed_kernex_has_the_bundle_too(tmp_path: Path) -> None:
    root = Path(models.__file__).parents[4]
    build_wheel = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build_wheel, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    source = Path(models.__file__).parent
    with zipfile.ZipFile(wheel) as archive:
        for name in ("vad/manifest.json", "vad/speech.wav", "vad/probe.py", "vad/serve.py", "vad_fixed/vad.py"):
            assert archive.read(f"kernex/cli/demo/{name}") == (source / name).read_bytes()


def test_no_weights_lie_in_the_source() -> None:
    package = Path(models.__file__).parents[2]
    assert [path for path in package.rglob("*") if path.suffix in {".onnx", ".whl", ".jit", ".safetensors"}] == []


def test_the_model_is_fetched_once_and_checked_every_time(tmp_path: Path) -> None:
    fetched = cached("5.1.2", tmp_path)
    assert hashlib.sha256(fetched.read_bytes()).hexdigest() == SHA256["5.1.2"]
    written = fetched.stat().st_mtime_ns
    assert cached("5.1.2", tmp_path).stat().st_mtime_ns == written
    fetched.write_bytes(b"rotten")
    assert hashlib.sha256(cached("5.1.2", tmp_path).read_bytes()).hexdigest() == SHA256["5.1.2"]
    assert [path.name for path in tmp_path.iterdir()] == ["silero-vad-5.1.2.onnx"]


def test_another_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "silero_vad-5.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("silero_vad/data/silero_vad.onnx", b"another model")
    with pytest.raises(RejectedError, match="not the one whose SHA-256 is known"):
        models.take(wheel, "5.1.2")
