"""A fake control plane and a device enrolled with it, new for every test."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.devices import Device
from tests.agent.fake_control_plane import FakeControlPlane

_MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A directory in memory where there is one that programs may run from: an agent syncs a lot, and what
    a disk does with that is not the matter of these tests."""
    usable = _MEMORY.is_dir() and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
    with tempfile.TemporaryDirectory(dir=_MEMORY if usable else None, prefix="kernex-test-") as directory:
        yield Path(directory)


@pytest.fixture
def fake() -> Iterator[FakeControlPlane]:
    with FakeControlPlane.started() as started:
        yield started


@pytest.fixture
def new_device(fake: FakeControlPlane, quick_path: Path) -> Device:
    """Not enrolled yet."""
    return Device.new(quick_path / "device", fake.url)


@pytest.fixture
def device(new_device: Device) -> Iterator[Device]:
    yield new_device.enrolled()
    assert not new_device.left(), "a process outlived its agent"
