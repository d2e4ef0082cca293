"""Devices on a file system in memory, and a fake control plane: new for every row."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agent.bundles import Bundle
from tests.agent.fake_control_plane import FakeControlPlane
from tests.state.lives import Mother, Subject
from tests.state.releases import GOOD

from kernex.trust import assertion

_MEMORY = Path("/dev/shm")


@pytest.fixture
def fake() -> Iterator[FakeControlPlane]:
    with FakeControlPlane.started() as started:
        yield started


@pytest.fixture(scope="session")
def private_key() -> bytes:
    return assertion.new_private_key()


@pytest.fixture(scope="session")
def mother() -> Iterator[Mother]:
    with Mother.started() as started:
        yield started


@contextmanager
def _directory() -> Iterator[Path]:
    usable = _MEMORY.is_dir() and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
    with tempfile.TemporaryDirectory(dir=_MEMORY if usable else None, prefix="kernex-state-") as directory:
        yield Path(directory)


@pytest.fixture
def subject(fake: FakeControlPlane, mother: Mother, private_key: bytes) -> Iterator[Subject]:
    """A device under test, enrolled."""
    with _directory() as directory:
        subject = Subject.enrolled(directory / "device", fake, mother, private_key)
        yield subject
        assert not subject.device.left(), "a process outlived its agent"


@pytest.fixture(scope="session")
def in_use(mother: Mother, private_key: bytes) -> Iterator[dict[Bundle, Path]]:
    """State directories in which a good release was installed, to be copied: one for each of `GOOD`."""
    with _directory() as directory, FakeControlPlane.started() as fake:
        found = {}
        for bundle in GOOD:
            root = directory / bundle.digest.short / "device"
            root.parent.mkdir()
            Subject.enrolled(root, fake, mother, private_key).installed(bundle)
            found[bundle] = root
        yield found
