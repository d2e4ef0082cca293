"""The heartbeat's endpoint: plain ASGI in front of the framework, for it is nearly all of the traffic.

Verified-token cache, decode, queue; nothing else happens per request. Its policy is `Devices`, like any
route's, and the same error table answers.
"""

import asyncio
import re

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from kernex.domain.errors import DeniedError, RejectedError, UnavailableError
from kernex.server.access import Access, DeviceIdentity
from kernex.server.heartbeats import Heartbeats
from kernex.server.http.policy import Devices, bearer
from kernex.server.http.problems import TooLargeError, problem_of
from kernex.server.settings import Settings
from kernex.wire import limits, paths
from kernex.wire.device import Heartbeat
from kernex.wire.problem import MEDIA_TYPE

POLICY = Devices()
_PREFIX, _SUFFIX = paths.HEARTBEAT.split("{device_id}")
_WAIT = re.compile(rb"(?:^|[,;\s])wait=(\d{1,5})(?:$|[,;\s])")
_decoder = msgspec.json.Decoder(Heartbeat)
_encoder = msgspec.json.Encoder()


class _GoneError(UnavailableError):
    """The device hung up; nobody is there to answer."""


class HeartbeatEndpoint:
    """Answers heartbeats and hands every other request to `app`."""

    def __init__(self, app: ASGIApp, heartbeats: Heartbeats, access: Access, settings: Settings) -> None:
        self._app, self._heartbeats, self._access = app, heartbeats, access
        self._longest_wait_s = settings.long_poll_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        device_id = _device_id(scope)
        if device_id is None:
            await self._app(scope, receive, send)
            return
        try:
            await _send(send, 200, "application/json", await self._answer(device_id, scope, receive), {})
        except _GoneError:
            return
        except Exception as error:  # noqa: BLE001 - the outermost frame of a request: the table answers
            problem, headers = problem_of(error)
            await _send(send, problem.status, MEDIA_TYPE, _encoder.encode(problem), headers)

    async def _answer(self, device_id: str, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        device = POLICY.admit(bearer(headers.get(b"authorization", b"").decode("latin-1")), self._access)
        if device.device_id != device_id:
            raise DeniedError("cannot heartbeat for another device: the access token is not its own")
        heartbeat = _decode(await _body(receive))
        wait_s = min(_asked_wait(headers.get(b"prefer", b"")), self._longest_wait_s)
        if not wait_s:
            return _encoder.encode(await self._heartbeats.submit(device, heartbeat))
        return await self._answer_or_gone(device, heartbeat, wait_s, receive)

    async def _answer_or_gone(
        self, device: DeviceIdentity, heartbeat: Heartbeat, wait_s: float, receive: Receive
    ) -> bytes:
        """A long-poll ends with its answer or with its connection, whichever comes first."""
        answer = asyncio.ensure_future(self._heartbeats.submit(device, heartbeat, wait_s))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise _GoneError("cannot answer: the device hung up")
            return _encoder.encode(answer.result())
        finally:
            answer.cancel()
            gone.cancel()


async def _send(send: Send, status: int, media_type: str, body: bytes, headers: dict[str, str]) -> None:
    fields = {"content-type": media_type, "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _device_id(scope: Scope) -> str | None:
    if scope["type"] != ScopeType.HTTP:
        return None
    path = scope["path"]
    if scope["method"] != "POST" or not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)):
        return None
    device_id = path[len(_PREFIX) : -len(_SUFFIX)]
    return device_id if device_id and "/" not in device_id else None


async def _body(receive: Receive) -> bytes:
    """The body, refused before more than the cap is held."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _GoneError("cannot answer: the device hung up")
        body += message["body"]
        if len(body) > limits.HEARTBEAT_BYTES:
            raise TooLargeError(f"cannot take the heartbeat: {limits.HEARTBEAT_BYTES} bytes at most")
        if not message["more_body"]:
            return body


def _decode(body: bytes) -> Heartbeat:
    try:
        return _decoder.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectedError(f"cannot read the heartbeat: {error}") from None


def _asked_wait(prefer: bytes) -> int:
    """Seconds of ``Prefer: wait=N`` (RFC 7240 §4.3)."""
    match = _WAIT.search(prefer)
    return int(match[1]) if match else 0


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
