"""The conversation with the control plane: the only file of the agent that speaks HTTP.

Nothing that comes back is trusted: every answer has a cap in bytes and a timeout, redirects are not
followed, and whatever cannot be understood (a captive portal's page, say) counts as "not now".
"""

import http.client
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

import kernex
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
from kernex.wire.problem import Problem

log = logging.getLogger(__name__)

Body = TypeVar("Body")
Login = Callable[[str, str], str]  #: from issuer and nonce to an assertion

_PENDING_RETRY_S = 30.0
_LONGEST_TOKEN_S = 86400.0
_WORDS = 500  # characters of the server's own words in a message
_STATUS: dict[int, type[KernexError]] = {
    401: UnauthenticatedError,
    403: DeniedError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    425: UnavailableError,
    429: UnavailableError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, within its cap."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def problem(self) -> Problem:
        """What the server says went wrong; its status alone when it does not say it in our words."""
        try:
            return msgspec.json.decode(self.body, type=Problem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Problem(http.client.responses.get(self.status, "an unknown error"), self.status)


class ControlPlane:
    """Safe to use from several threads: each call has a connection to itself, all share one token."""

    def __init__(self, url: str, settings: Settings) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise RejectedError(f"cannot use {url[:200]!r} as a control plane: write https://HOST or http://HOST:PORT")
        self.url = url
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = _tls_context(settings) if parts.scheme == "https" else None
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._hung_up = False
        self._token = _Token()
        self._enrolment: Enrolment | None = None
        self._login: Login | None = None

    def log_in_as(self, enrolment: Enrolment, login: Login) -> None:
        """From now on calls are made as this device."""
        self._enrolment, self._login = enrolment, login

    # --- Before the device is known

    def registration_challenge(self, registration: Registration) -> Challenge:
        """What to sign to prove that the key is ours."""
        return self._challenge("register", self._send("POST", paths.REGISTER, msgspec.json.encode(registration)))

    def register(self, registration: Registration) -> Admission:
        """Register; a key that is known already gets its own id back."""
        answer = self._send("POST", paths.REGISTER, msgspec.json.encode(registration))
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
        answer = self._authorised(lambda token: self._send("GET", path, token=token, cap=limits.DESCRIPTOR_BYTES))
        return _checked("fetch the descriptor", answer).body

    @contextmanager
    def archive(self, bundle_id: str, sha256: Digest, *, offset: int) -> Iterator["Download"]:
        """The archive from `offset` on, or from its start when the server says so. The strong ETag of an
        archive is its SHA-256, so a range is never of other bytes than those that are here already."""
        path = paths.BUNDLE.format(bundle_id=quote(bundle_id, safe=""))
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{sha256}"'} if offset else {}
        for attempt in (1, 2):
            token = self._access_token()
            with self._connection(self._settings.answer_timeout_s) as connection:
                response = self._exchange(connection, "GET", path, b"", self._headers(token) | headers)
                if response.status in (200, 206):
                    yield Download(response, offset, self.url)
                    if not response.isclosed():
                        connection.close()
                    return
                with _reaching(self.url):
                    answer = Answer(response.status, response.headers, response.read(limits.METADATA_BYTES))
                connection.close()
                if response.status == 401:
                    self._token.drop(token)
                if response.status != 401 or attempt == 2:
                    _checked("download the archive", answer)
                    raise UnavailableError(f"cannot download the archive: {self.url} answers {response.status}")

    # --- The connections

    def hang_up(self) -> None:
        """End every call that is under way, from any thread or signal handler; there will be no more."""
        self._hung_up = True
        for connection in list(self._busy):
            if (sock := connection.sock) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

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
            lambda token: self._send(method, path, body, token=token, headers=headers, wait_s=wait_s)
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
        return self._send("POST", paths.TOKEN, urlencode(form).encode(), headers=headers)

    def _challenge(self, what: str, answer: Answer) -> Challenge:
        nonce, issuer = answer.headers.get(problem.NONCE_HEADER), answer.headers.get(problem.ISSUER_HEADER)
        if answer.status != 401 or not nonce or not issuer:
            _checked(what, answer)
            raise UnavailableError(f"cannot {what}: {self.url} does not answer like a control plane")
        return Challenge(nonce, issuer)

    def _send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
        wait_s: float = 0.0,
        cap: int = limits.JSON_BYTES,
    ) -> Answer:
        timeout_s = self._settings.answer_timeout_s + wait_s
        deadline = time.monotonic() + timeout_s
        with self._connection(timeout_s) as connection:
            response = self._exchange(connection, method, path, body, self._headers(token) | (headers or {}))
            with _reaching(self.url):
                return Answer(response.status, response.headers, _read(response, cap, deadline))

    def _headers(self, token: str) -> dict[str, str]:
        common = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"kernex-agent/{kernex.__version__}",
        }
        return common | ({"Authorization": f"Bearer {token}"} if token else {})

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        """Send and wait for the head of the answer. A kept connection may have been closed by the other
        side meanwhile, so it is tried once more on a new one: every call may be repeated."""
        with _reaching(self.url):
            try:
                connection.request(method, self._prefix + path, body or None, headers)
                return connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                connection.close()
                if self._hung_up:
                    raise
            connection.request(method, self._prefix + path, body or None, headers)
            return connection.getresponse()

    @contextmanager
    def _connection(self, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
        """A connection for one exchange; kept for the next one unless something went wrong."""
        if self._hung_up:
            raise UnavailableError("cannot call the control plane: the agent ends")
        with self._lock:
            connection = self._idle.pop() if self._idle else self._new_connection()
            self._busy.add(connection)
        try:
            with _reaching(self.url):
                self._open(connection, timeout_s)
            yield connection
        except BaseException:
            connection.close()
            raise
        finally:
            with self._lock:
                self._busy.discard(connection)
                if connection.sock is not None:
                    self._idle.append(connection)

    def _open(self, connection: http.client.HTTPConnection, timeout_s: float) -> None:
        connection.timeout = timeout_s if connection.sock is not None else self._settings.connect_timeout_s
        if connection.sock is None:
            connection.connect()
            connection.timeout = timeout_s
            if self._hung_up:
                raise ConnectionAbortedError("the agent ends")
        connection.sock.settimeout(timeout_s)

    def _new_connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port)
        return http.client.HTTPSConnection(self._host, self._port, context=self._tls)


class Download:
    """An archive on its way; see `kernex.agent.install.step.Archive`."""

    def __init__(self, response: http.client.HTTPResponse, asked: int, url: str) -> None:
        self._response, self._url = response, url
        self.offset = asked if response.status == 206 else 0
        self.total_bytes: int | None = None if response.length is None else self.offset + response.length
        if response.status == 206 and not (response.headers.get("Content-Range") or "").startswith(f"bytes {asked}-"):
            raise UnavailableError("cannot download the archive: the server sent another range than it was asked for")

    def read(self, size: int) -> bytes:
        with _reaching(self._url):
            return self._response.read(size)


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


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """What goes wrong on the way is "not now"."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"cannot reach {url}: {_words(str(error)) or type(error).__name__}") from None


def _tls_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:
            raise RejectedError(f"cannot use ca_file {settings.ca_file}: {error}") from None
    return context


def _read(response: http.client.HTTPResponse, cap: int, deadline: float) -> bytes:
    if response.length is not None and response.length > cap:
        raise UnavailableError(f"cannot take an answer of {response.length} bytes: {cap} at most")
    body = bytearray()
    while piece := response.read1(min(65536, cap + 1 - len(body))):
        body += piece
        if len(body) > cap:
            raise UnavailableError(f"cannot take the answer: it has more than {cap} bytes")
        if time.monotonic() > deadline:
            raise UnavailableError("cannot wait longer for the answer: it comes too slowly")
    if response.length:
        raise UnavailableError(f"cannot use the answer: it ended {response.length} bytes early")
    response.close()  # all of it was read: the connection is free for the next exchange
    return bytes(body)


def _checked(what: str, answer: Answer) -> Answer:
    """The answer if it is a 2xx, or the error of ours that says what to do next."""
    status = answer.status
    if 200 <= status < 300:
        return answer
    if 300 <= status < 400:
        where = _words(answer.headers.get("Location", "elsewhere"))
        raise RejectedError(f"cannot {what}: the control plane redirects to {where}; enrol with its final address")
    said = answer.problem
    message = f"cannot {what}: {_words(said.detail or said.title)} ({status})"
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


def _words(text: str) -> str:
    """The other side's words, fit for one line of a log."""
    return "".join(one if one.isprintable() else " " for one in text[:_WORDS]).strip()
