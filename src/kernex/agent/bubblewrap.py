"""What a contained program sees, as arguments for bubblewrap (``bwrap``, version 0.5 or newer).

Everything is named as outside, so that paths in the environment mean the same: system directories and
interpreters read-only, the release read-only, the app's data and temporary directory writable, and of the
rest of the state directory nothing.
"""

import glob
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from kernex.domain.manifest import Permission

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_CONFIGURATION = (
    "alternatives",  # where Debian's /usr/bin links to
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_PROCESSORS = "/sys/devices/system/cpu"  # how many there are: thread pools ask
_GPU_DEVICES = (
    "/dev/nvidia*",
    "/dev/nvhost-*",
    "/dev/nvmap",
    "/dev/dri/*",
    "/dev/kfd",
    "/dev/accel/*",
    "/dev/hailo*",
    "/dev/apex_*",
    "/dev/video*",
    "/dev/dma_heap/*",
    "/dev/rknpu",
)
_GPU_FILES = ("/etc/nv_tegra_release", "/etc/OpenCL", "/etc/vulkan", "/etc/glvnd", "/sys")
#: Beside a directory of programs, what they are made of. Not the whole prefix: ``~/.local`` is one.
_BESIDE_PROGRAMS = ("lib", "lib32", "lib64", "libexec", "ssl", "pyvenv.cfg")
_LINKS = 16  # from one to the next until it is no way to name a program
_MOUNT_POINTS_BYTES = 64 << 10


def fixed(search_path: str, hidden: Path, memory_bytes: int) -> list[str]:
    """The arguments that every run shares. `hidden` is the state directory; ``/tmp`` and ``/dev/shm`` take
    up to `memory_bytes` each."""
    scratch = ["--perms", "1777", "--size", str(memory_bytes), "--tmpfs"]
    arguments = ["--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"]
    arguments += [*scratch, "/dev/shm", *scratch, "/tmp"]  # noqa: S108 - inside
    for root in map(Path, _SYSTEM):
        if root.is_symlink():
            arguments += ["--symlink", str(root.readlink()), str(root)]
        elif root.is_dir():
            arguments += ["--ro-bind", str(root), str(root)]
    names = [*(f"/etc/{name}" for name in _CONFIGURATION), _PROCESSORS, *programs(search_path)]
    present = [path for path in map(Path, names) if path.exists()]
    arguments += _directories([*present, hidden])
    for path in present:
        arguments += ["--ro-bind-try", str(path), str(path)]
    return [*arguments, "--perms", "0755", "--size", str(_MOUNT_POINTS_BYTES), "--tmpfs", str(hidden)]


def programs(search_path: str) -> list[str]:
    """What lies outside the system's directories and is needed to run what is found on `search_path`, and
    the interpreter that runs this."""
    directories = [Path(part) for part in search_path.split(os.pathsep) if part.startswith("/")]
    directories += [Path(prefix, "bin") for prefix in (sys.prefix, sys.base_prefix)]
    if found := shutil.which("python3", path=search_path):
        directories += _hops(Path(found))
    directories += _hops(Path(sys.executable))
    needed = [path for directory in directories for path in (directory, *_beside(directory))]
    seen = dict.fromkeys(str(path) for path in needed if path.exists())
    return [name for name in seen if not f"{name}/".startswith(tuple(f"{root}/" for root in _SYSTEM))]


def arguments(
    *,
    readable: Sequence[Path],
    writable: Sequence[Path],
    hidden: Path,
    environment: Mapping[str, str],
    permissions: Collection[Permission],
    root: bool,
) -> list[str]:
    """The arguments of one run, to follow `fixed`. `root`: bwrap is run by root and keeps what it takes to
    become somebody else; anybody else needs a user namespace. It runs in the first of `readable`."""
    if root:
        one_by_one = ("ipc", "pid", "net", "uts", "cgroup-try")
        namespaces = [f"--unshare-{name}" for name in one_by_one if name != "net" or _alone(permissions)]
        capabilities = [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    else:
        namespaces = ["--unshare-all"] if _alone(permissions) else ["--unshare-all", "--share-net"]
        capabilities = []
    shown = [*namespaces, "--cap-drop", "ALL", *capabilities, *_directories([*readable, *writable])]
    for path in readable:
        shown += ["--ro-bind", str(path), str(path)]
    for path in writable:
        shown += ["--bind", str(path), str(path)]
    if Permission.GPU in permissions:
        nodes = devices()
        shown += _directories(map(Path, nodes))
        for name in nodes:
            shown += ["--dev-bind-try", name, name]
        for name in _GPU_FILES:
            shown += ["--ro-bind-try", name, name]
    for top in ("/", "/dev", str(hidden)):
        shown += ["--remount-ro", top]
    for name, value in environment.items():
        shown += ["--setenv", name, value]
    return [*shown, "--chdir", str(readable[0])]


def devices() -> list[str]:
    """Of the devices that compute or see, those that are here."""
    return [name for pattern in _GPU_DEVICES for name in sorted(glob.glob(pattern))]  # noqa: PTH207 - from the root


def _directories(paths: Iterable[Path]) -> list[str]:
    """The directories above, as everybody may pass through: by itself bwrap makes them for their owner alone."""
    above = {str(parent) for path in paths for parent in path.parents} - {"/", *_SYSTEM}
    return [word for name in sorted(above) for word in ("--dir", name)]


def _alone(permissions: Collection[Permission]) -> bool:
    return Permission.NETWORK not in permissions


def _beside(directory: Path) -> list[Path]:
    return [directory.parent / name for name in _BESIDE_PROGRAMS] if directory.name in ("bin", "sbin") else []


def _hops(program: Path) -> list[Path]:
    """The directories that its links lead through: a virtual environment's ``python3`` is two hops from home."""
    directories = []
    for _ in range(_LINKS):
        directories.append(program.parent)
        if not program.is_symlink():
            break
        program = program.parent / program.readlink()
    return [Path(os.path.normpath(directory)) for directory in directories]
