"""What a script learns from ``kernex``: one exit code for each kind of error, and a hint for the reader."""

from enum import IntEnum

from kernex.domain.errors import (
    ConflictError,
    DeniedError,
    KernexError,
    NotFoundError,
    RejectedError,
    UnauthenticatedError,
    UnavailableError,
)


class ExitCode(IntEnum):
    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_ALLOWED = 3
    NOT_FOUND = 4
    REFUSED = 5
    DEPLOYMENT_FAILED = 6
    TIMED_OUT = 7
    INTERRUPTED = 130  # as shells say it: 128 + SIGINT

    @property
    def title(self) -> str:
        """In words, for people."""
        return self.name.lower().replace("_", " ")


class DeploymentFailedError(KernexError):
    """The deployment ended, and not every device runs what was asked for."""


class WaitTimeoutError(KernexError):
    """The deployment goes on; the time to wait for it is over."""


CODES: dict[type[KernexError], ExitCode] = {
    DeniedError: ExitCode.NOT_ALLOWED,
    NotFoundError: ExitCode.NOT_FOUND,
    RejectedError: ExitCode.REFUSED,
    ConflictError: ExitCode.REFUSED,
    DeploymentFailedError: ExitCode.DEPLOYMENT_FAILED,
    WaitTimeoutError: ExitCode.TIMED_OUT,
    UnavailableError: ExitCode.ERROR,
    KernexError: ExitCode.ERROR,
}

#: The way out where the message cannot know it, because it lies in how the command was called.
HINTS: dict[type[KernexError], str] = {
    UnauthenticatedError: "set KERNEX_TOKEN; make a token with: kernex server token create --role admin --data-dir D",
    DeniedError: "the role of your token does not allow this; ask for one that does",
}


def code_of(error: KernexError) -> ExitCode:
    """The code of the nearest class in `CODES`."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def hint_of(error: KernexError) -> str | None:
    """What to do next: a note that was added where the error was raised, or the hint of its class."""
    notes: list[str] = getattr(error, "__notes__", [])
    return notes[0] if notes else next((HINTS[kind] for kind in type(error).__mro__ if kind in HINTS), None)
