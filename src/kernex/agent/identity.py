"""Who this device is, and how it becomes known: key first, then registration, then what the server said."""

import logging
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from kernex import durable
from kernex.agent.keys import Key
from kernex.agent.state import StateDirectory
from kernex.domain.errors import ConflictError, DeniedError, NotFoundError
from kernex.wire.device import Registration

log = logging.getLogger(__name__)


class Enrolment(msgspec.Struct, frozen=True):
    """``enrolment.json``. `issuer` is the name of the control plane that was met first: assertions are
    meant for it, and a server by another name is refused."""

    url: str
    issuer: str
    device_id: str
    thumbprint: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What a registration came to. `status` is ``accepted``, ``pending``, or empty for a device that the
    control plane knew already."""

    device_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """What to sign, and for whom."""

    nonce: str
    issuer: str


class Registrar(Protocol):
    """The control plane, as far as enrolment needs it."""

    def registration_challenge(self, registration: Registration) -> Challenge: ...

    def register(self, registration: Registration) -> Admission: ...


def read_enrolment(state: StateDirectory) -> Enrolment:
    """Who the device is, or NotFoundError when it was never enrolled."""
    try:
        data = state.enrolment.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(
            f"cannot run: {state.root} is not enrolled; run kernex-agent enroll URL --key KEY"
        ) from None
    try:
        return msgspec.json.decode(data, type=Enrolment)
    except msgspec.MsgspecError as error:
        raise ConflictError(f"cannot read {state.enrolment}: {error}; remove it and enrol again") from None


def enrol(
    state: StateDirectory,
    key: Key,
    registrar: Registrar,
    *,
    url: str,
    enrolment_key: str | None,
    device_type: str | None,
    facts: dict[str, Any],
) -> tuple[Enrolment, Admission]:
    """Register the device's key and remember under which id. May be cut off anywhere and run again: the
    key is made once, and a control plane that knows it already answers with its id."""
    known = _known(state)
    if known is not None and known.url != url:
        raise ConflictError(
            f"cannot enrol with {url}: the device belongs to {known.url}; remove {state.enrolment} to move it"
        )
    public = key.public()
    registration = Registration(
        public.public_key, enrolment_key=enrolment_key, device_type=device_type, hardware_metadata=facts
    )
    challenge = registrar.registration_challenge(registration)
    if known is not None and known.issuer != challenge.issuer:
        raise DeniedError(
            f"cannot enrol with {url}: it calls itself {challenge.issuer!r}, this device belongs to {known.issuer!r}"
        )
    registration.proof = key.prove(public.thumbprint, challenge.issuer, challenge.nonce)
    admission = registrar.register(registration)
    enrolment = Enrolment(url, challenge.issuer, admission.device_id, public.thumbprint)
    durable.write(state.enrolment, msgspec.json.encode(enrolment))
    return enrolment, admission


def _known(state: StateDirectory) -> Enrolment | None:
    try:
        return read_enrolment(state)
    except NotFoundError:
        return None
