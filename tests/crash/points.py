"""Where and how an agent is struck, and what came of it."""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import msgspec


class Action(IntEnum):
    """What the shim does at the point. The numbers are those of `enum action` in shim.c."""

    TRACE = 0  #: nothing; every point is told
    KILL = 1
    POWER_CUT = 2
    NO_SPACE = 3  #: whatever may need space fails from there on
    IO_ERROR = 4  #: everything fails from there on


class Weakness(IntFlag):
    """What the shim takes away from the file system. The numbers are those of `enum weakness` in shim.c."""

    NONE = 0
    NO_FILE_SYNC = 1  #: no file is synced, but for SQLite's
    NO_DIRECTORY_SYNC = 2
    NO_WAL_SYNC = 4  #: what ``PRAGMA synchronous = NORMAL`` leaves out
    SPLIT_SWAP = 8  #: `current` is removed before its successor gets its name


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One call, counted from 1, that changes a file: struck before or after it."""

    number: int
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} call {self.number}"


NEVER = Point(0)
UNFORESEEN = 70  #: exit status of an agent of which some thread ended with an exception


class Order(msgspec.Struct, frozen=True):
    """What a zygote is asked for: one life of the agent of the state directory `root`."""

    root: str
    action: Action = Action.TRACE
    at: int = 0
    after: bool = False
    weaknesses: int = 0
    mount: str = ""  #: the loop mount whose power may be cut
    device: int = 0  #: its st_dev, as its maker saw it
    patience_s: float = 20.0  #: after that the agent is killed


class Life(msgspec.Struct, frozen=True):
    """How it went."""

    status: int  #: as of waitpid(2), in the form of os.waitstatus_to_exitcode
    trace: tuple[str, ...]  #: the calls that were told: ``number name path``
    overdue: bool = False  #: killed, for it did not come to an end
