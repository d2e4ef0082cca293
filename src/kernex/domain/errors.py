"""Errors, grouped by what the caller should do next.

::

    KernexError
    ├── RejectedError         it is wrong: change it, do not retry
    ├── UnavailableError      not now: retry later, with backoff
    ├── ConflictError         the world moved: read again, then decide
    │   └── IllegalTransition
    ├── NotFoundError         there is no such thing, or not for you
    └── DeniedError           you may not
        └── UnauthenticatedError   say who you are first

Messages start with "cannot", name the thing and the way out. Whoever raises writes the words; whoever
catches chooses by class. ``kernex.server.http.problems`` maps them to HTTP, ``kernex.cli`` to exit codes.
"""


class KernexError(Exception):
    """Anything that Kernex itself refuses or gives up."""


class RejectedError(KernexError):
    """The request or the bytes are wrong; the same again will fail again."""


class UnavailableError(KernexError):
    """The other side cannot answer now; the same again may work later."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConflictError(KernexError):
    """The state is not what the caller believed it to be."""


class IllegalTransition(ConflictError):  # noqa: N818 - reads as what happened
    """A state machine has no cell for this event in this state."""


class NotFoundError(KernexError):
    """There is no such thing, or the caller may not know whether there is."""


class DeniedError(KernexError):
    """The caller is known and may not do this."""


class UnauthenticatedError(DeniedError):
    """The caller is not known: no credential, a wrong one, or one that ended."""
