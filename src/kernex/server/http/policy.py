"""Where a route is and who may call it. Every route names one policy; a route without one refuses everybody."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Protocol

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard

from kernex.domain.errors import DeniedError, UnauthenticatedError
from kernex.domain.role import Permission
from kernex.server.access import API_TOKEN_PREFIX, Access, DeviceIdentity, Operator

#: Where a route keeps its policy.
OPT = "policy"
Principal = Operator | DeviceIdentity | None


class Policy(Protocol):
    def admit(self, token: str | None, access: Access) -> Principal:
        """Who is calling, or DeniedError. May read the database."""


@dataclass(frozen=True, slots=True)
class Anybody:
    """No credential: health, the API's description, and the two calls that prove a device's key."""

    def admit(self, token: str | None, access: Access) -> Principal:  # noqa: ARG002 - the protocol's shape
        return None


@dataclass(frozen=True, slots=True)
class Operators:
    """An API token whose role has the permission."""

    permission: Permission

    def admit(self, token: str | None, access: Access) -> Operator:
        operator = access.operator(_present(token))
        if not operator.may(self.permission):
            raise DeniedError(f"cannot {self.permission} with the role {operator.role}: ask for another token")
        return operator


@dataclass(frozen=True, slots=True)
class Devices:
    """A device's access token. That it speaks only for itself, its handler checks against the path."""

    def admit(self, token: str | None, access: Access) -> DeviceIdentity:
        return access.device(_present(token))


@dataclass(frozen=True, slots=True)
class DevicesOr:
    """A device, or an operator with the permission."""

    permission: Permission

    def admit(self, token: str | None, access: Access) -> Principal:
        if _present(token).startswith(API_TOKEN_PREFIX):
            return Operators(self.permission).admit(token, access)
        return Devices().admit(token, access)


def at(template: str) -> str:
    """A path of `kernex.wire.paths` as the framework writes it: every parameter is text."""
    return re.sub(r"\{(\w+)\}", r"{\1:str}", template)


def guard(access: Access) -> Guard:
    """Litestar's guard for all routes: admit the caller before a byte of the body is read."""

    async def enforce(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        policy: Policy | None = handler.opt.get(OPT)
        if policy is None:
            raise DeniedError("cannot serve this route: it names no policy")
        token = bearer(connection.headers.get("authorization"))
        connection.scope["user"] = await asyncio.to_thread(policy.admit, token, access)

    return enforce


def bearer(header: str | None) -> str | None:
    """The token of an ``Authorization: Bearer`` header (RFC 6750 §2.1)."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _present(token: str | None) -> str:
    if token is None:
        raise UnauthenticatedError("cannot tell who is calling: send Authorization: Bearer TOKEN")
    return token
