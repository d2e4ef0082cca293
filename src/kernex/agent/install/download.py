"""Fetch the descriptor and the archive, resuming where a cut connection left off."""

import hashlib
import logging
import os
import random
import time
from pathlib import Path
from typing import BinaryIO

from kernex import durable
from kernex.agent import pace, space
from kernex.agent.install import room
from kernex.agent.install.step import DONE, STOPPED, Archive, Ended, Workplace
from kernex.bundle.descriptor import Descriptor
from kernex.domain.errors import RejectedError, UnavailableError
from kernex.domain.install import Install

log = logging.getLogger(__name__)

_PIECE = 256 << 10  # bytes


def download(install: Install, workplace: Workplace) -> Ended:
    """Have the archive, whole and with its SHA-256 checked, in `workplace.archive(install)`. Its first byte is
    asked for when the disk has room for all of it, and for what the descriptor says that it holds.

    Entered again: what is there whole is kept; what is there in part is hashed again and continued.
    A network that does not answer is waited for, as long as the settings say.
    """
    workplace.progress.bytes_done = 0
    if install.archive_bytes > workplace.settings.max_bundle_bytes:
        raise RejectedError(
            f"cannot download {install.archive_bytes} bytes: max_bundle_bytes is {workplace.settings.max_bundle_bytes}"
        )
    limits = pace.Limits(first_s=workplace.settings.backoff_first_s, longest_s=workplace.settings.backoff_longest_s)
    failures, reached, last_progress = 0, 0, time.monotonic()
    while not workplace.stop.cancelled:
        workplace.stop.check()
        try:
            descriptor = _fetch_descriptor(install, workplace)
            if _fetch_archive(install, descriptor, workplace):
                return DONE
        except UnavailableError as error:
            if workplace.progress.bytes_done > reached:
                failures, reached, last_progress = 0, workplace.progress.bytes_done, time.monotonic()
            failures += 1
            # Not security: it spreads the devices of a fleet.
            delay_s = pace.after_error(failures, error.retry_after_s, chance=random.random(), limits=limits)  # noqa: S311
            left_s = last_progress + workplace.settings.download_patience_s - time.monotonic()
            if left_s <= 0:
                raise
            log.info("the download waits %.1f s: %s", min(delay_s, left_s), error)
            workplace.stop.sleep_unless_cancelled(min(delay_s, left_s))
    return STOPPED


def _fetch_descriptor(install: Install, workplace: Workplace) -> Descriptor:
    path = workplace.descriptor(install)
    if path.exists():
        return Descriptor.parse(path.read_bytes(), install.digest)
    data = workplace.source.descriptor(install.bundle_id)
    descriptor = Descriptor.parse(data, install.digest)
    durable.write(path, data)
    return descriptor


def _fetch_archive(install: Install, descriptor: Descriptor, workplace: Workplace) -> bool:
    """Whether it is there now; False when the install was cancelled meanwhile."""
    target, part = workplace.archive(install), _part(install, workplace)
    if target.exists():
        return True
    with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:  # noqa: PTH123 - its mode
        hashed = hashlib.sha256()
        have = _rehash(file, hashed)
        if have >= install.archive_bytes:
            have, hashed = _forget(file), hashlib.sha256()
        _make_room(file, install, descriptor, workplace)
        with workplace.source.archive(install.bundle_id, install.archive_sha256, offset=have) as archive:
            if archive.offset != have:
                have, hashed = _forget(file), hashlib.sha256()
            _check_length(archive, install)
            if not _append(archive, file, hashed, install=install, workplace=workplace):
                return False
        if hashed.hexdigest() != install.archive_sha256:
            file.truncate(0)
            wrong = (
                f"cannot use the archive: its SHA-256 is {hashed.hexdigest()[:12]}…, "
                f"the control plane named {install.archive_sha256.short}…"
            )
            raise UnavailableError(wrong) if have else RejectedError(wrong)  # a resumed one gets a fresh start
        os.fsync(file.fileno())
    durable.rename(part, target)
    return True


def _make_room(file: BinaryIO, install: Install, descriptor: Descriptor, workplace: Workplace) -> None:
    """Nothing is fetched that would not fit; what is going to be fetched has its place."""
    held = os.fstat(file.fileno()).st_blocks * 512
    room.preflight(install, descriptor, workplace, archive_bytes=max(0, install.archive_bytes - held))
    space.reserve(file.fileno(), install.archive_bytes)


def _check_length(archive: Archive, install: Install) -> None:
    if archive.total_bytes not in (None, install.archive_bytes):
        raise RejectedError(
            f"cannot use the archive: it has {archive.total_bytes} bytes, "
            f"the control plane named {install.archive_bytes}"
        )


def _append(
    archive: Archive, file: BinaryIO, hashed: "hashlib._Hash", *, install: Install, workplace: Workplace
) -> bool:
    """Append what comes to the file and to the hash; False when the install was cancelled meanwhile."""
    have = archive.offset
    while have < install.archive_bytes:
        workplace.stop.check()
        if workplace.stop.cancelled:
            return False
        piece = archive.read(min(_PIECE, install.archive_bytes - have))
        if not piece:
            raise UnavailableError(
                f"cannot download the archive: the connection ended after {have} of {install.archive_bytes} bytes"
            )
        file.write(piece)
        hashed.update(piece)
        have += len(piece)
        workplace.progress.bytes_done = have
    file.flush()
    return True


def _rehash(file: BinaryIO, hashed: "hashlib._Hash") -> int:
    """Hash what is there already; leaves the file at its end."""
    while piece := file.read(_PIECE):
        hashed.update(piece)
    return file.tell()


def _forget(file: BinaryIO) -> int:
    file.truncate(0)
    return file.seek(0)


def _part(install: Install, workplace: Workplace) -> Path:
    return workplace.downloads / f"{install.archive_sha256}.part"
