"""A fake control plane and a device enrolled with it, new for every test."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.agent.devices import Device
from tests.agent.fake_control_plane import FakeControlPlane

from kernex import durable
from kernex.agent.identity import Enrolment
from kernex.trust import assertion

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


@pytest.fixture(scope="session")
def private_key() -> bytes:
    return assertion.new_private_key()


@pytest.fixture
def device(new_device: Device, fake: FakeControlPlane, private_key: bytes) -> Iterator[Device]:
    """Enrolled: what `kernex-agent enroll` leaves on both sides, without the seconds that it takes."""
    public, device_id = assertion.public_key(private_key), str(uuid.uuid4())
    fake.devices[public.thumbprint], fake.keys[device_id] = device_id, public
    durable.write(new_device.state.key, private_key)
    enrolment = Enrolment(fake.url, fake.issuer, device_id, public.thumbprint)
    durable.write(new_device.state.enrolment, msgspec.json.encode(enrolment))
    yield new_device
    assert not new_device.left(), "a process outlived its agent"
