"""HTTP to one server, from several threads: connections that are kept, answers that are capped.

The only file of the agent that speaks HTTP. Nothing that comes back is trusted: every answer has a cap in
bytes and a timeout, redirects are not followed, and what goes wrong on the way counts as "not now".
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

import kernex
from kernex.agent.settings import Settings
from kernex.domain.errors import RejectedError, UnavailableError
from kernex.wire import limits
from kernex.wire.problem import Problem

_WORDS = 500  # characters of the server's own words in a message


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


class Connections:
    """Each exchange has a connection to itself; it is kept for the next one unless something went wrong."""

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

    def send(
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
            with reaching(self.url):
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
        with reaching(self.url):
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
            with reaching(self.url):
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

    @contextmanager
    def opened(
        self, path: str, *, token: str, headers: dict[str, str]
    ) -> Iterator["Answer | http.client.HTTPResponse"]:
        """A GET whose body is the caller's to read; any status but 200 and 206 comes as a whole Answer."""
        with self._connection(self._settings.answer_timeout_s) as connection:
            response = self._exchange(connection, "GET", path, b"", self._headers(token) | headers)
            if response.status in (200, 206):
                yield response
                if not response.isclosed():
                    connection.close()
                return
            with reaching(self.url):
                answer = Answer(response.status, response.headers, response.read(limits.METADATA_BYTES))
            connection.close()
            yield answer

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


class Download:
    """An archive on its way; see `kernex.agent.install.step.Archive`."""

    def __init__(self, response: http.client.HTTPResponse, asked: int, url: str) -> None:
        self._response, self._url = response, url
        self.offset = asked if response.status == 206 else 0
        self.total_bytes: int | None = None if response.length is None else self.offset + response.length
        if response.status == 206 and not (response.headers.get("Content-Range") or "").startswith(f"bytes {asked}-"):
            raise UnavailableError("cannot download the archive: the server sent another range than it was asked for")

    def read(self, size: int) -> bytes:
        with reaching(self._url):
            return self._response.read(size)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """What goes wrong on the way is "not now"."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"cannot reach {url}: {words(str(error)) or type(error).__name__}") from None


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


def words(text: str) -> str:
    """The other side's words, fit for one line of a log."""
    return "".join(one if one.isprintable() else " " for one in text[:_WORDS]).strip()
