"""Device keys and what they sign: the proof at registration and the assertion at login (RFC 7523).

Freshness comes from a nonce that the control plane hands out, never from a clock: a device without a
battery-backed clock signs as well as any other. A claim set has exactly one audience, a string; the
JOSE header `typ` keeps a proof from ever passing as an assertion.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from kernex.domain.errors import RejectedError, UnauthenticatedError

ALGORITHMS = ["Ed25519", "ES256"]
MAX_CHARACTERS = 4096
_SUBJECT_CHARACTERS = 64


class Purpose(StrEnum):
    """What a signature is for: the `typ` of its JOSE header."""

    REGISTRATION = "kernex-registration+jwt"  #: subject: the key's thumbprint
    LOGIN = "kernex-login+jwt"  #: subject: the device's id


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A device's public key, read from PEM. `thumbprint` (RFC 7638) is the device's identity."""

    pem: str
    algorithm: str
    thumbprint: str
    key: OKPKey | ECKey

    @classmethod
    def parse(cls, pem: str) -> "PublicKey":
        """Ed25519 or ECDSA P-256 as SubjectPublicKeyInfo, or RejectedError."""
        try:
            loaded = serialization.load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise RejectedError("cannot read the public key: send SubjectPublicKeyInfo as PEM text") from None
        key: OKPKey | ECKey
        if isinstance(loaded, Ed25519PublicKey):
            algorithm, key = "Ed25519", OKPKey.import_key(loaded)
        elif isinstance(loaded, EllipticCurvePublicKey) and isinstance(loaded.curve, SECP256R1):
            algorithm, key = "ES256", ECKey.import_key(loaded)
        else:
            raise RejectedError("cannot use this kind of public key: use Ed25519, or ECDSA on P-256")
        canonical = loaded.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
        return cls(canonical, algorithm, key.thumbprint(), key)


def new_private_key() -> bytes:
    """A new Ed25519 key as unencrypted PKCS #8 PEM, to be stored with mode 0600."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key(private_pem: bytes) -> PublicKey:
    """The public half of a private key."""
    loaded = serialization.load_pem_private_key(private_pem, password=None)
    spki = loaded.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey.parse(spki.decode())


def sign(private_pem: bytes, purpose: Purpose, *, subject: str, audience: str, nonce: str) -> str:
    """A compact JWS that says: the holder of this key means this control plane, now."""
    public = public_key(private_pem)
    key = (OKPKey if public.algorithm == "Ed25519" else ECKey).import_key(private_pem)
    header = {"alg": public.algorithm, "typ": purpose.value}
    claims = {"iss": subject, "sub": subject, "aud": audience, "nonce": nonce}
    return jwt.encode(header, claims, key, algorithms=ALGORITHMS)


def verify(token: str, public: PublicKey, purpose: Purpose, *, subject: str, audience: str) -> str:
    """The nonce of a signature that is by this key, for this purpose, subject and audience.

    Raises UnauthenticatedError. That the nonce is fresh and unused is the caller's to check.
    """
    claims = _claims(token, public, purpose)
    if claims.get("aud") != audience or claims.get("iss") != subject or claims.get("sub") != subject:
        raise UnauthenticatedError("cannot accept the signature: it was made for another control plane or device")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str):
        raise UnauthenticatedError("cannot accept the signature: it carries no nonce")
    return nonce


def claimed_subject(token: str) -> str:
    """Whose assertion it claims to be, unverified: only good for looking up the key to verify it with."""
    try:
        subject = json.loads(jws.extract_compact(token[:MAX_CHARACTERS].encode()).payload).get("sub")
    except (JoseError, ValueError, AttributeError, RecursionError):
        subject = None
    if not isinstance(subject, str) or not subject.isascii() or len(subject) > _SUBJECT_CHARACTERS:
        raise UnauthenticatedError("cannot read the assertion: it is no JWT with a subject")
    return subject


def _claims(token: str, public: PublicKey, purpose: Purpose) -> dict[str, Any]:
    if len(token) > MAX_CHARACTERS:
        raise UnauthenticatedError(f"cannot read a signature of {len(token)} characters: {MAX_CHARACTERS} at most")
    try:
        decoded = jwt.decode(token, public.key, algorithms=[public.algorithm])
    except (JoseError, ValueError, TypeError, RecursionError):
        raise UnauthenticatedError("cannot verify the signature: it is not by the device's key") from None
    if decoded.header.get("typ") != purpose:
        raise UnauthenticatedError("cannot accept the signature: it was made for another purpose")
    return decoded.claims
