"""Who is calling: operators by API token, devices by a signed assertion and the access token it earns.

Tokens and keys are stored as SHA-256. The control plane's own secret signs nonces and access tokens; it
is in the database, so replicas and restarts agree and no device has to log in again.
"""

import hashlib
import secrets
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from kernex.domain.device import State
from kernex.domain.errors import DeniedError, NotFoundError, UnauthenticatedError
from kernex.domain.role import GRANTS, Permission, Role
from kernex.server.clock import Clock, milliseconds
from kernex.server.settings import Settings
from kernex.server.store import access as rows
from kernex.server.store import devices
from kernex.server.store.database import Database
from kernex.trust.assertion import PublicKey, Purpose, claimed_subject, verify

API_TOKEN_PREFIX = "kxp_"  # noqa: S105 - a prefix that secret scanners find
_NONCE, _ACCESS = "nonce+jwt", "at+jwt"
_ALGORITHMS = ["HS256"]
_REMEMBERED = 200_000  # verified access tokens


class NonceRequiredError(UnauthenticatedError):
    """The signature needs a fresh nonce of this control plane: here it is, and whom to name as audience."""

    def __init__(self, message: str, *, nonce: str, issuer: str) -> None:
        super().__init__(message)
        self.nonce = nonce
        self.issuer = issuer


class PendingApprovalError(DeniedError):
    """The device proved its key and waits for an operator."""


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    role: Role

    def may(self, permission: Permission) -> bool:
        return permission in GRANTS[self.role]


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """`id` joins tables, `device_id` travels."""

    id: int
    device_id: str


def hashed(secret: str) -> str:
    """How a token or key is stored. Plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Access:
    """Credentials of one control plane."""

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self._database, self._settings, self._clock = database, settings, clock
        with database.write() as connection:
            self.issuer = rows.setting_or(connection, "issuer", str(uuid.uuid4()))
            secret = rows.setting_or(connection, "signing_secret", secrets.token_hex(32))
        self._key = OctKey.import_key(bytes.fromhex(secret))
        self._verified: OrderedDict[str, tuple[DeviceIdentity, float]] = OrderedDict()

    # Operators

    def create_token(self, name: str, role: Role, lifetime_s: float) -> str:
        """A new API token: the only time that it is seen."""
        token = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
        now_ms = milliseconds(self._clock)
        with self._database.write() as connection:
            expires_ms = now_ms + int(lifetime_s * 1000)
            rows.add_token(
                connection, name=name, role=role, token_sha256=hashed(token), now_ms=now_ms, expires_ms=expires_ms
            )
        return token

    def operator(self, token: str) -> Operator:
        with self._database.read() as connection:
            found = rows.find_token(connection, hashed(token), now_ms=milliseconds(self._clock))
        if found is None:
            raise UnauthenticatedError("cannot accept the API token: it is unknown or has expired")
        return Operator(*found)

    # Devices

    def nonce_required(self, message: str) -> NonceRequiredError:
        """The refusal that hands out the next nonce. Nonces are stateless until they are spent."""
        claims = {"jti": secrets.token_urlsafe(16), "exp": int(self._clock()) + self._settings.nonce_s}
        nonce = jwt.encode({"alg": "HS256", "typ": _NONCE}, claims, self._key)
        return NonceRequiredError(message, nonce=nonce, issuer=self.issuer)

    def check_signature(self, token: str, key: PublicKey, purpose: Purpose, subject: str) -> None:
        """Accept a device's signature once: by this key, for this control plane, over a fresh nonce of ours."""
        nonce = verify(token, key, purpose, subject=subject, audience=self.issuer)
        claims = self._own(nonce, _NONCE)
        if claims is None:
            raise self.nonce_required("cannot accept the signature: its nonce is not a fresh one of ours")
        with self._database.write() as connection:
            expires_ms = int(claims["exp"]) * 1000
            rows.spend_nonce(connection, str(claims["jti"]), now_ms=milliseconds(self._clock), expires_ms=expires_ms)

    def login(self, assertion: str) -> str:
        """An access token for the device that signed the assertion (RFC 7523)."""
        if not assertion:
            raise self.nonce_required("cannot log in without an assertion: sign one over the nonce of this answer")
        device_id = claimed_subject(assertion)
        try:
            with self._database.read() as connection:
                device = devices.get(connection, device_id)
        except NotFoundError:
            raise UnauthenticatedError("cannot accept the assertion: no such device is registered") from None
        self.check_signature(assertion, PublicKey.parse(device.public_key), Purpose.LOGIN, device_id)
        match device.state:
            case State.ACCEPTED:
                return self._access_token(DeviceIdentity(device.id, device.device_id))
            case State.PENDING:
                raise PendingApprovalError("cannot log in yet: an operator has to approve the device")
            case State.REVOKED:
                raise UnauthenticatedError("cannot accept the assertion: the device was revoked")

    def device(self, token: str) -> DeviceIdentity:
        """Whose access token it is. Whether the device is still accepted, the caller's transaction asks."""
        now = self._clock()
        known = self._verified.get(token)
        if known is not None and now < known[1]:
            return known[0]
        claims = self._own(token, _ACCESS)
        if claims is None:
            raise UnauthenticatedError("cannot accept the access token: it is not ours or has expired; log in again")
        identity = DeviceIdentity(int(claims["did"]), str(claims["sub"]))
        self._verified[token] = (identity, float(claims["exp"]))
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return identity

    def _access_token(self, device: DeviceIdentity) -> str:
        expires = int(self._clock()) + self._settings.access_token_s
        claims = {"sub": device.device_id, "did": device.id, "aud": self.issuer, "exp": expires}
        return jwt.encode({"alg": "HS256", "typ": _ACCESS}, claims, self._key)

    def _own(self, token: str, kind: str) -> dict[str, Any] | None:
        """The claims of a token that this control plane signed for this use and that has not expired."""
        try:
            decoded = jwt.decode(token, self._key, algorithms=_ALGORITHMS)
        except (JoseError, ValueError, TypeError, RecursionError):
            return None
        expires = decoded.claims.get("exp")
        if decoded.header.get("typ") != kind or not isinstance(expires, int) or expires <= self._clock():
            return None
        return decoded.claims
