"""Benches for a sample of the strikes; `python -m tests.crash` makes its own for all of them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash import mounts
from tests.crash.bench import Bench


@pytest.fixture(scope="session")
def mounts_allowed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """File systems can be made and mounted here. In CI they have to be."""
    reason = mounts.why_not(tmp_path_factory.mktemp("mounts"))
    if reason:
        assert os.environ.get("CI") != "true", f"the power cuts have to run in CI: {reason}"
        pytest.skip(f"no power cuts here: {reason}")


@pytest.fixture(scope="session")
def quick_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=mounts.quick_place(), prefix="kernex-crash-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def bench(quick_directory: Path) -> Iterator[Bench]:
    """A device in a directory, to be killed."""
    with Bench.ready(quick_directory) as ready:
        yield ready


@pytest.fixture(scope="module", params=mounts.SIZES)
def mounted(request: pytest.FixtureRequest, mounts_allowed: None, quick_directory: Path) -> Iterator[Bench]:
    """A device on a file system whose power can be cut."""
    with Bench.ready(quick_directory, request.param) as ready:
        yield ready
