"""The conversation with the control plane: what the device asks, and what an answer means.

Whatever cannot be understood (a captive portal's page, say) counts as "not now".
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from kernex.agent.connections import Answer, Connections, Download, words
from kernex.agent.identity import Admission, Challenge, Enrolment
from kernex.agent.settings import Settings
from kernex.domain.bundle import Digest
from kernex.domain.errors import (
    ConflictError,
    DeniedError,
    KernexError,
    NotFoundError,
    RejectedError,
    UnauthenticatedError,
    UnavailableError,
)
from kernex.wire import limits, paths, problem
from kernex.wire.device import (
    AccessToken,
    Heartbeat,
    ReceivedReply,
    Registered,
    Registration,
    Result,
    ResultAccepted,
)

Body = TypeVar("Body")
Login = Callable[[str, str], str]  #: from issuer and nonce to an assertion

_PENDING_RETRY_S = 30.0
_LONGEST_TOKEN_S = 86400.0
_STATUS: dict[int, type[KernexError]] = {
    401: UnauthenticatedError,
    403: DeniedError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    425: UnavailableError,
    429: UnavailableError,
}


class ControlPlane:
    """Safe to use from several threads: each call has a connection to itself, all share one token."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self._http = Connections(url, settings)
        self._token = _Token()
        self._enrolment: Enrolment | None = None
        self._login: Login | None = None

    def log_in_as(self, enrolment: Enrolment, login: Login) -> None:
        """From now on calls are made as this device."""
        self._enrolment, self._login = enrolment, login

    # --- Before the device is known

    def registration_challenge(self, registration: Registration) -> Challenge:
        """What to sign to prove that the key is ours."""
        return self._challenge("register", self._http.send("POST", paths.REGISTER, msgspec.json.encode(registration)))

    def register(self, registration: Registration) -> Admission:
        """Register; a key that is known already gets its own id back."""
        answer = self._http.send("POST", paths.REGISTER, msgspec.json.encode(registration))
        if answer.status == 409 and (device_id := answer.problem.device_id):
            return Admission(device_id, "")
        registered = _decode("register", _checked("register", answer), Registered)
        return Admission(registered.device_id, registered.status)

    # --- As the device

    def heartbeat(self, heartbeat: Heartbeat, *, wait_s: float = 0.0) -> ReceivedReply:
        """Say where the device is. The answer may be held back for `wait_s` (RFC 7240)."""
        headers = {"Prefer": f"wait={int(wait_s)}"} if wait_s >= 1 else {}
        path = paths.HEARTBEAT.format(device_id=quote(self._me.device_id, safe=""))
        body = msgspec.json.encode(heartbeat)
        return self._call("heartbeat", "POST", path, ReceivedReply, body=body, headers=headers, wait_s=wait_s)

    def result(self, deployment_id: str, result: Result) -> ResultAccepted:
        """Report an outcome at once; it is durable there when this returns."""
        path = paths.RESULT.format(deployment_id=quote(deployment_id, safe=""))
        return self._call("report the result", "POST", path, ResultAccepted, body=msgspec.json.encode(result))

    def descriptor(self, bundle_id: str) -> bytes:
        """The descriptor, as bytes: its digest names exactly these."""
        path = paths.DESCRIPTOR.format(bundle_id=quote(bundle_id, safe=""))
        answer = self._authorised(lambda token: self._http.send("GET", path, token=token, cap=limits.DESCRIPTOR_BYTES))
        return _checked("fetch the descriptor", answer).body

    @contextmanager
    def archive(self, bundle_id: str, sha256: Digest, *, offset: int) -> Iterator[Download]:
        """The archive from `offset` on, or from its start when the server says so. The strong ETag of an
        archive is its SHA-256, so a range is never of other bytes than those that are here already."""
        path = paths.BUNDLE.format(bundle_id=quote(bundle_id, safe=""))
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{sha256}"'} if offset else {}
        for attempt in (1, 2):
            token = self._access_token()
            with self._http.opened(path, token=token, headers=headers) as answer:
                if not isinstance(answer, Answer):
                    yield Download(answer, offset, self.url)
                    return
            if answer.status == 401:
                self._token.drop(token)
            if answer.status != 401 or attempt == 2:
                _checked("download the archive", answer)
                raise UnavailableError(f"cannot download the archive: {self.url} answers {answer.status}")

    def hang_up(self) -> None:
        """End every call that is under way, from any thread or signal handler; there will be no more."""
        self._http.hang_up()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._http.close()

    # --- Inside

    @property
    def _me(self) -> Enrolment:
        if self._enrolment is None:
            raise UnauthenticatedError("cannot speak for a device: it is not enrolled")
        return self._enrolment

    def _call(
        self,
        what: str,
        method: str,
        path: str,
        kind: type[Body],
        *,
        body: bytes,
        headers: dict[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> Body:
        answer = self._authorised(
            lambda token: self._http.send(method, path, body, token=token, headers=headers, wait_s=wait_s)
        )
        return _decode(what, _checked(what, answer), kind)

    def _authorised(self, send: Callable[[str], Answer]) -> Answer:
        """Send with the token; once more with a new one when the server does not take it."""
        token = self._access_token()
        answer = send(token)
        if answer.status == 401:
            self._token.drop(token)
            answer = send(self._access_token())
        return answer

    def _access_token(self) -> str:
        with self._token.lock:
            if not self._token.fresh(time.monotonic()):
                granted = self._log_in()
                # Not security: the devices of a fleet renew at different times.
                self._token.take(granted, time.monotonic(), random.uniform(0.5, 0.8))  # noqa: S311
            return self._token.value

    def _log_in(self) -> AccessToken:
        me, login = self._me, self._login
        if login is None:
            raise UnauthenticatedError("cannot log in: there is no key")
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
        answer = self._post_form(form)
        for _ in range(2):  # a nonce may end between the question and the answer
            challenge = self._challenge("log in", answer)
            if challenge.issuer != me.issuer:
                raise DeniedError(
                    f"cannot log in: the control plane calls itself {challenge.issuer!r}, "
                    f"this device belongs to {me.issuer!r}"
                )
            answer = self._post_form(form | {"client_assertion": login(challenge.issuer, challenge.nonce)})
            if answer.status != 401 or answer.problem.error != problem.USE_NONCE:
                break
        if answer.status == 403 and answer.problem.error == problem.PENDING_APPROVAL:
            asked_s = _retry_after(answer)
            raise UnavailableError(
                f"cannot log in yet: an operator has to run: kernex device approve {me.device_id}",
                retry_after_s=_PENDING_RETRY_S if asked_s is None else asked_s,
            )
        return _decode("log in", _checked("log in", answer), AccessToken)

    def _post_form(self, form: dict[str, str]) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._http.send("POST", paths.TOKEN, urlencode(form).encode(), headers=headers)

    def _challenge(self, what: str, answer: Answer) -> Challenge:
        nonce, issuer = answer.headers.get(problem.NONCE_HEADER), answer.headers.get(problem.ISSUER_HEADER)
        if answer.status != 401 or not nonce or not issuer:
            _checked(what, answer)
            raise UnavailableError(f"cannot {what}: {self.url} does not answer like a control plane")
        return Challenge(nonce, issuer)


class _Token:
    """The access token and when to get a new one, by the clock that nobody sets."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value = ""
        self._renew_at = 0.0

    def fresh(self, now: float) -> bool:
        return bool(self.value) and now < self._renew_at

    def take(self, granted: AccessToken, now: float, share: float) -> None:
        self.value = granted.access_token
        self._renew_at = now + share * min(max(granted.expires_in, 1), _LONGEST_TOKEN_S)

    def drop(self, value: str) -> None:
        """Not taken by the server; another thread may have a newer one already."""
        with self.lock:
            if self.value == value:
                self.value = ""


def _checked(what: str, answer: Answer) -> Answer:
    """The answer if it is a 2xx, or the error of ours that says what to do next."""
    status = answer.status
    if 200 <= status < 300:
        return answer
    if 300 <= status < 400:
        where = words(answer.headers.get("Location", "elsewhere"))
        raise RejectedError(f"cannot {what}: the control plane redirects to {where}; enrol with its final address")
    said = answer.problem
    message = f"cannot {what}: {words(said.detail or said.title)} ({status})"
    kind = _STATUS.get(status, RejectedError if 400 <= status < 500 else UnavailableError)
    if kind is UnavailableError:
        raise UnavailableError(message, retry_after_s=_retry_after(answer))
    raise kind(message)


def _decode(what: str, answer: Answer, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnavailableError(f"cannot {what}: the answer is not what a control plane says") from None


def _retry_after(answer: Answer) -> float | None:
    """Seconds; the date form is not used among us, and a device may not know the date."""
    value = answer.headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 8 else None
