"""Unpack the bundle beside what runs."""

from kernex import durable
from kernex.agent.apps import remove_tree
from kernex.agent.install import room
from kernex.agent.install.step import DONE, Ended, Workplace
from kernex.bundle.descriptor import Descriptor
from kernex.bundle.verify import check_release, open_verified
from kernex.domain.install import Install


def stage(install: Install, workplace: Workplace) -> Ended:
    """Have the release whole and durable under its digest, its descriptor beside it.

    Entered again: a whole release is kept, and so is the one that runs, whatever it did to its own files;
    anything half-way is wiped and unpacked anew.
    """
    app = workplace.app(install)
    app.prepare()
    descriptor = workplace.descriptor(install).read_bytes()
    durable.write(app.descriptor(install.digest), descriptor)
    release = app.release(install.digest)
    if release.is_dir():
        if install.digest == app.current or not check_release(release, Descriptor.parse(descriptor, install.digest)):
            return DONE
        remove_tree(release)
    verified = open_verified(
        workplace.archive(install),
        descriptor,
        digest=install.digest,
        archive_sha256=install.archive_sha256,
        archive_bytes=install.archive_bytes,
    )
    staging = app.staging(install.digest)
    remove_tree(staging)
    room.preflight(install, verified.descriptor, workplace)
    staging.mkdir(mode=0o755)
    verified.unpack(staging)
    durable.rename(staging, release)
    return DONE
