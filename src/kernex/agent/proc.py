"""What ``/proc`` says about processes. Best effort: any of them may be gone at any moment."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """One line of ``/proc/PID/stat``. `started` is in clock ticks since boot: with the pid it names a
    process for as long as the machine runs."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def alive(self) -> bool:
        return self.state not in "ZXx"


def look(pid: int) -> Process | None:
    """The process, or None when there is none (or no more)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    # The name is in parentheses and may contain anything, also parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return Process(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def everybody() -> list[Process]:
    """Every process that can be seen."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [process for pid in pids if (process := look(pid)) is not None]


def environment(pid: int) -> bytes:
    """The environment a process was started with, NUL between entries; empty when it may not be read."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def boot_id() -> str:
    """Changes with every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
