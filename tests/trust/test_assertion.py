"""Device keys: only a key's holder can speak for it, to one control plane, for one purpose."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.errors import RejectedError, UnauthenticatedError
from kernex.trust.assertion import (
    MAX_CHARACTERS,
    PublicKey,
    Purpose,
    claimed_subject,
    new_private_key,
    public_key,
    sign,
    verify,
)

DEVICE = "0192f3a1-6c1e-7d5a-9a51-0d7c2f5e8b11"
SERVER = "https://kernex.example"


def pem_of(key: Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def spki_of(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


ED25519 = new_private_key()
P256 = pem_of(ec.generate_private_key(ec.SECP256R1()))
both_kinds = pytest.mark.parametrize("private", [ED25519, P256], ids=["Ed25519", "P-256"])


def login(private: bytes, *, subject: str = DEVICE, audience: str = SERVER, nonce: str = "n-1") -> str:
    return sign(private, Purpose.LOGIN, subject=subject, audience=audience, nonce=nonce)


def check(token: str, private: bytes = ED25519, purpose: Purpose = Purpose.LOGIN) -> str:
    return verify(token, public_key(private), purpose, subject=DEVICE, audience=SERVER)


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], *, claims: object = None, private: bytes = ED25519) -> str:
    """A token with any header and claims, signed with Ed25519 as an attacker's own code would."""
    content = {"iss": DEVICE, "sub": DEVICE, "aud": SERVER, "nonce": "n-1"} if claims is None else claims
    signed = f"{encoded(header)}.{encoded(content)}"
    key = serialization.load_pem_private_key(private, None)
    assert isinstance(key, Ed25519PrivateKey)
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


HEADER = {"alg": "Ed25519", "typ": Purpose.LOGIN.value}


@both_kinds
def test_a_signature_by_the_key_gives_its_nonce_back(private: bytes) -> None:
    assert check(login(private, nonce="fresh"), private) == "fresh"


@both_kinds
def test_a_signature_by_another_key_is_refused(private: bytes) -> None:
    for other in (new_private_key(), pem_of(ec.generate_private_key(ec.SECP256R1()))):
        with pytest.raises(UnauthenticatedError, match="not by the device's key"):
            check(login(other), private)


@both_kinds
def test_a_proof_of_registration_never_passes_as_a_login_nor_the_other_way_round(private: bytes) -> None:
    for made, wanted in ((Purpose.REGISTRATION, Purpose.LOGIN), (Purpose.LOGIN, Purpose.REGISTRATION)):
        token = sign(private, made, subject=DEVICE, audience=SERVER, nonce="n")
        with pytest.raises(UnauthenticatedError, match="another purpose"):
            check(token, private, wanted)


def test_a_signature_for_another_control_plane_or_device_is_refused() -> None:
    for token in (login(ED25519, audience="https://evil.example"), login(ED25519, subject="another-device")):
        with pytest.raises(UnauthenticatedError, match="another control plane or device"):
            check(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": DEVICE, "sub": DEVICE, "aud": [SERVER], "nonce": "n"},
        {"iss": DEVICE, "sub": DEVICE, "aud": [SERVER, "https://evil.example"], "nonce": "n"},
        {"iss": DEVICE, "sub": DEVICE, "nonce": "n"},
        {"iss": "another-device", "sub": DEVICE, "aud": SERVER, "nonce": "n"},
        {"sub": DEVICE, "aud": SERVER, "nonce": "n"},
        {"iss": DEVICE, "sub": DEVICE, "aud": SERVER},
        {"iss": DEVICE, "sub": DEVICE, "aud": SERVER, "nonce": 5},
        {"iss": DEVICE, "sub": DEVICE, "aud": SERVER, "nonce": None},
        {},
        [],
        "text",
        5,
        None,
    ],
)
def test_claims_are_exactly_one_audience_one_subject_and_a_nonce(claims: object) -> None:
    with pytest.raises(UnauthenticatedError, match=r"^cannot "):
        check(forged(HEADER, claims=json.dumps(claims).encode()))


def test_the_hand_made_token_of_these_tests_would_pass_if_nothing_were_wrong_with_it() -> None:
    assert check(forged(HEADER)) == "n-1"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"alg": "EdDSA"},
        {"alg": "RS256"},
        {"alg": ""},
        {"alg": None},
        {"alg": ["Ed25519"]},
        {},
        {"alg": "Ed25519", "crit": ["b64"], "b64": False},
        {"alg": "Ed25519", "crit": ["of-the-future"], "of-the-future": 1},
        {"alg": "Ed25519", "typ": "JWT"},
    ],
)
def test_no_other_algorithm_and_no_unknown_critical_header_passes(header: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        check(forged({"typ": Purpose.LOGIN.value, **header}))


def test_an_unsigned_token_is_refused() -> None:
    signed = (
        f"{encoded(HEADER | {'alg': 'none'})}.{encoded({'iss': DEVICE, 'sub': DEVICE, 'aud': SERVER, 'nonce': 'n'})}"
    )
    for token in (f"{signed}.", signed, f"{signed}.{encoded(b'')}"):
        with pytest.raises(UnauthenticatedError):
            check(token)


@both_kinds
def test_the_public_key_is_no_secret_to_sign_with(private: bytes) -> None:
    """The classic confusion: HMAC with the text of the public key as its key."""
    public = public_key(private)
    raw = serialization.load_pem_public_key(public.pem.encode()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = (
        f"{encoded(HEADER | {'alg': 'HS256'})}.{encoded({'iss': DEVICE, 'sub': DEVICE, 'aud': SERVER, 'nonce': 'n'})}"
    )
    for secret in (public.pem.encode(), public.pem.strip().encode(), raw):
        with pytest.raises(UnauthenticatedError):
            check(f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}", private)


def test_a_key_inside_the_token_is_not_asked() -> None:
    attacker = new_private_key()
    jwk = public_key(attacker).key.as_dict(private=False)
    for header in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"kid": "../../dev/null"}):
        with pytest.raises(UnauthenticatedError):
            check(forged(HEADER | header, private=attacker))


@both_kinds
def test_one_changed_character_anywhere_is_refused(private: bytes) -> None:
    header, claims, signature = login(private).split(".")
    for token in (
        f"{header[:-2]}AA.{claims}.{signature}",
        f"{header}.{claims[:-4]}AAAA.{signature}",
        f"{header}.{claims}.AAAA{signature[4:]}",
        f"{header}.{claims}.{signature[:-4]}",
    ):
        with pytest.raises(UnauthenticatedError):
            check(token, private)


def test_an_oversized_signature_is_refused_before_it_is_read() -> None:
    with pytest.raises(UnauthenticatedError, match=f"{MAX_CHARACTERS} at most"):
        check("a" * (MAX_CHARACTERS + 1))


DEEP = b"[" * 2800


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "é.é.é", "\ud800", f"{encoded(DEEP)}.e30.x", f"{encoded(HEADER)}.{encoded(DEEP)}.x"],
)
def test_whatever_is_sent_in_place_of_a_token_is_refused_and_nothing_else(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        check(token)
    with pytest.raises(UnauthenticatedError):
        claimed_subject(token)


def test_a_device_that_signs_nonsense_is_refused_as_well() -> None:
    with pytest.raises(UnauthenticatedError):
        check(forged(HEADER, claims=DEEP))


@given(st.text(st.sampled_from("ey.AZaz09_-="), max_size=80))
def test_no_text_breaks_the_reader(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        check(token)


def test_a_subject_can_be_read_without_believing_it() -> None:
    assert claimed_subject(login(new_private_key(), subject="anybody")) == "anybody"
    strange: list[object] = [{}, {"sub": 5}, [], "text"]
    for claims in strange:
        with pytest.raises(UnauthenticatedError, match="no JWT with a subject"):
            claimed_subject(forged(HEADER, claims=claims))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
    ],
    ids=["RSA", "P-384", "secp256k1", "Ed448"],
)
def test_other_kinds_of_keys_are_refused(key: Any) -> None:
    with pytest.raises(RejectedError, match="use Ed25519, or ECDSA on P-256"):
        PublicKey.parse(spki_of(key))


@pytest.mark.parametrize(
    "pem", ["", "no key", "\ud800", ED25519.decode(), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key_is_refused(pem: str) -> None:
    with pytest.raises(RejectedError, match="SubjectPublicKeyInfo as PEM"):
        PublicKey.parse(pem)


def test_one_key_is_one_identity_however_its_pem_is_wrapped() -> None:
    public = public_key(ED25519)
    body = "".join(public.pem.splitlines()[1:-1])
    rewrapped = f"-----BEGIN PUBLIC KEY-----\n{body[:20]}\n{body[20:]}\n-----END PUBLIC KEY-----\n\n"
    assert PublicKey.parse(rewrapped).thumbprint == public.thumbprint
    assert PublicKey.parse(rewrapped).pem == public.pem


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    """Appendix A.3: the key of RFC 8032 §7.1, test 1."""
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    private = pem_of(Ed25519PrivateKey.from_private_bytes(seed))
    assert public_key(private).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_every_key_is_new() -> None:
    assert len({new_private_key() for _ in range(10)}) == 10
