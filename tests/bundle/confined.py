"""Reads archives in a process of their own each, which the kernel stops at 2 s of CPU or 256 MB of memory.

Run as a program it is the parent of those processes: small, so that they are, and with everything imported,
so that they start at once. One line of JSON asks (what to do, the archive, the place), one answers.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bundle.crafted import MANIFEST

from kernex.bundle.archive import describe, unpack
from kernex.bundle.descriptor import Descriptor, FileEntry, LinkEntry
from kernex.bundle.limits import LIMITS
from kernex.bundle.reader import members
from kernex.bundle.streams import opened
from kernex.bundle.target import Target
from kernex.domain.bundle import Digest
from kernex.domain.errors import KernexError

CPU_S = 2
MEMORY_BYTES = 256 * 10**6  # of address space, which is more than what is resident
WALL_S = 60.0  # for what hangs without computing
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `said` is the result or the refusal; `died` says what ended it otherwise."""

    refused: bool
    said: str
    died: str
    cpu_s: float
    peak_mb: float


class Cell:
    """The parent of the readers, from outside."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Cell"]:
        with subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()

    def run(self, action: str, archive: Path, place: Path) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([action, str(archive), str(place)]), file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._process.stdout.readline()))


def _describe(archive: Path, place: Path) -> str:
    return describe(archive).digest


def _unpack_as_promised(archive: Path, place: Path) -> str:
    """As a device does, whose descriptor promises the manifest of the corpus and nothing else."""
    path, content = MANIFEST
    entry = FileEntry(path, len(content), 0o644, Digest("0" * 64))
    unpack(archive, place, Descriptor("default", "1.0.0", (entry,)))
    return "unpacked"


def _unpack_greedily(archive: Path, place: Path) -> str:
    """With no descriptor to compare with, so that only the reader and the target stand in the way."""
    with opened(archive, LIMITS) as stream, Target(place) as target:
        for member in members(stream, LIMITS):
            if isinstance(member, LinkEntry):
                target.link(member.path, member.target)
                continue
            with target.create(member.path, member.mode) as write:
                for piece in member.pieces:
                    write(piece)
    return "unpacked"


def _accept(archive: Path, place: Path) -> str:
    described = describe(archive)
    unpack(archive, place, described.descriptor)
    return described.digest


def _trust(archive: Path, place: Path) -> str:
    """What Kernex does not do."""
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="fully_trusted")
    return "unpacked"


def _never_end(archive: Path, place: Path) -> str:
    while True:
        pass


def _grow(archive: Path, place: Path) -> str:
    return str(len(bytearray(MEMORY_BYTES)))


ACTIONS: dict[str, Callable[[Path, Path], str]] = {
    "describe": _describe,
    "unpack as promised": _unpack_as_promised,
    "unpack greedily": _unpack_greedily,
    "accept": _accept,
    "trust": _trust,
    "never end": _never_end,
    "grow": _grow,
}


def _confined(action: str, archive: str, place: str) -> tuple[bool, str]:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, WALL_S)
    try:
        return False, ACTIONS[action](Path(archive), Path(place))
    except KernexError as error:
        return True, str(error)
    except MemoryError:
        os.kill(os.getpid(), signal.SIGUSR1)  # there may be no room for words
        raise


def _run(request: list[str]) -> Outcome:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as answer:
            json.dump(_confined(*request), answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, status, usage = os.wait4(child, 0)
    refused, said = json.loads(text or '[false, ""]')
    code = os.waitstatus_to_exitcode(status)
    died = "" if code == 0 else signal.Signals(-code).name if code < 0 else f"exit {code}"
    return Outcome(refused, said, died, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(asdict(_run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
