"""Errors to HTTP: one table, one body (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from kernex.domain.errors import (
    ConflictError,
    DeniedError,
    KernexError,
    NotFoundError,
    RejectedError,
    UnauthenticatedError,
    UnavailableError,
)
from kernex.server.access import NonceRequiredError, PendingApprovalError
from kernex.server.devices import RegisteredAlreadyError
from kernex.server.http.ranges import UnsatisfiableError
from kernex.wire import problem as wire
from kernex.wire.problem import Problem

log = structlog.get_logger()


class TooLargeError(RejectedError):
    """A body over its cap."""


#: From what the caller should do next to what HTTP calls it; the first match counts.
STATUS: tuple[tuple[type[KernexError], HTTPStatus], ...] = (
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnsatisfiableError, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    (RejectedError, HTTPStatus.BAD_REQUEST),
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (DeniedError, HTTPStatus.FORBIDDEN),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
#: Codes that a device acts on.
ERROR_CODES: tuple[tuple[type[KernexError], str], ...] = (
    (NonceRequiredError, wire.USE_NONCE),
    (UnauthenticatedError, wire.INVALID_CLIENT),
    (PendingApprovalError, wire.PENDING_APPROVAL),
)
PENDING_RETRY_S = 30


def status_of(error: KernexError) -> HTTPStatus:
    """The status code of an error of ours."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:
    """The body and the headers for any exception. What we did not foresee says nothing about the inside."""
    match error:
        case KernexError():
            status = status_of(error)
            code = next((code for kind, code in ERROR_CODES if isinstance(error, kind)), None)
            device_id = error.device_id if isinstance(error, RegisteredAlreadyError) else None
            return Problem(status.phrase, status, str(error), code, device_id), _headers(error)
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return Problem(status.phrase, status, _words(error)), dict(error.headers or {})
        case RecursionError():
            return problem_of(RejectedError("cannot read the request: it is nested too deeply"))
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            log.error("unexpected error", exc_info=error)
            return Problem(status.phrase, status, "cannot answer: something unexpected happened; see the log"), {}


def answer(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    problem, headers = problem_of(error)
    return Response(
        msgspec.json.encode(problem), status_code=problem.status, media_type=wire.MEDIA_TYPE, headers=headers
    )


def _headers(error: KernexError) -> dict[str, str]:
    if isinstance(error, UnavailableError) and error.retry_after_s is not None:
        return {"Retry-After": str(int(error.retry_after_s))}
    if isinstance(error, PendingApprovalError):
        return {"Retry-After": str(PENDING_RETRY_S)}
    if isinstance(error, UnsatisfiableError):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, NonceRequiredError):
        return {wire.NONCE_HEADER: error.nonce, wire.ISSUER_HEADER: error.issuer}
    if isinstance(error, UnauthenticatedError):
        return {"WWW-Authenticate": "Bearer"}
    return {}


def _words(error: HTTPException) -> str:
    """Litestar keeps what msgspec found wrong in `extra`."""
    extra = error.extra
    found = extra if isinstance(extra, list) else []
    reasons = [f"{one.get('key', '')}: {one.get('message', '')}" for one in found if isinstance(one, Mapping)]
    return "; ".join([error.detail.split(" for ")[0], *reasons]) if reasons else error.detail
