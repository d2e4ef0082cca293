"""What devices call, except the heartbeat: `kernex.server.http.heartbeat` stands in front of the framework."""

import asyncio
from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from kernex.domain import report
from kernex.domain.errors import DeniedError, RejectedError
from kernex.server.access import Access, DeviceIdentity
from kernex.server.answers import Reported
from kernex.server.devices import Devices as DeviceCases
from kernex.server.heartbeats import Heartbeats
from kernex.server.http.policy import OPT, Anybody, Devices, at
from kernex.wire import limits, paths
from kernex.wire.device import AccessToken, Registered, Registration, Result, ResultAccepted

_FORM = "application/x-www-form-urlencoded"
_GRANT = "client_credentials"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def routes(access: Access, devices: DeviceCases, heartbeats: Heartbeats, token_s: int) -> list[HTTPRouteHandler]:
    """The device's routes over these use cases."""

    @post(at(paths.REGISTER), opt={OPT: Anybody()}, sync_to_thread=True, request_max_body_size=limits.HEARTBEAT_BYTES)
    def register(data: JSONBody[Registration]) -> Registered:
        """Register a device by its public key. Without a proof: 401 with a nonce to sign."""
        return devices.register(data)

    @post(
        at(paths.TOKEN),
        opt={OPT: Anybody()},
        status_code=200,
        request_max_body_size=limits.HEARTBEAT_BYTES,
    )
    async def token(request: Request[None, Any, Any]) -> Response[AccessToken]:
        """RFC 7523 client authentication: an assertion over a nonce of ours becomes an access token."""
        kind = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
        if kind != _FORM:
            raise RejectedError(f"cannot read the body: send it as {_FORM}")
        form = await request.form()
        grant, assertion = form.get("grant_type", _GRANT), form.get("client_assertion_type", _ASSERTION_TYPE)
        if grant != _GRANT or assertion != _ASSERTION_TYPE:
            raise RejectedError(
                f"cannot grant this: use grant_type={_GRANT} and client_assertion_type={_ASSERTION_TYPE}"
            )
        access_token = await asyncio.to_thread(access.login, str(form.get("client_assertion", "")))
        return Response(AccessToken(access_token, token_s), headers={"Cache-Control": "no-store"})

    @post(at(paths.RESULT), opt={OPT: Devices()}, status_code=200, request_max_body_size=limits.HEARTBEAT_BYTES)
    async def result(
        deployment_id: FromPath[str], data: JSONBody[Result], request: Request[DeviceIdentity, Any, Any]
    ) -> ResultAccepted:
        """An outcome, at once instead of with the next heartbeat. Durable when answered."""
        if data.device_id != request.user.device_id:
            raise DeniedError("cannot report for another device: the access token is not its own")
        reported = Reported(
            deployment_id,
            report.result(data.status, data.outcome),
            phase=None,
            error=data.error_message,
            metrics=data.metrics,
        )
        await heartbeats.report(request.user, reported)
        return ResultAccepted(success=True, deployment_id=deployment_id)

    return [register, token, result]
