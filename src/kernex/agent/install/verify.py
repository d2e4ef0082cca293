"""Compare what came with what the control plane named, and with what this device is."""

from kernex.agent.install.step import DONE, Ended, Workplace
from kernex.bundle.verify import open_verified
from kernex.domain.bundle import BundleRef
from kernex.domain.errors import RejectedError
from kernex.domain.install import Install
from kernex.domain.selector import unmet


def verify(install: Install, workplace: Workplace) -> Ended:
    """Check the descriptor, the archive and the manifest before anything of them is unpacked.

    Entered again: it only reads.
    """
    verified = open_verified(
        workplace.archive(install),
        workplace.descriptor(install).read_bytes(),
        digest=install.digest,
        archive_sha256=install.archive_sha256,
        archive_bytes=install.archive_bytes,
    )
    wanted = BundleRef(install.app, install.version)
    if verified.manifest.ref != wanted:
        raise RejectedError(f"cannot install {wanted}: the bundle says that it is {verified.manifest.ref}")
    workplace.scripts.sandbox.admit(verified.manifest.asks_for)
    if reasons := unmet(verified.manifest.requires, workplace.facts()):
        raise RejectedError(f"cannot run {wanted} on this device: {'; '.join(reasons)}")
    return DONE
