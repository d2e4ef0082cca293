"""Devices come, are let in and are shut out."""

import secrets
import uuid
from typing import Any

from kernex.domain import device as domain
from kernex.domain.device import Event, State
from kernex.domain.errors import ConflictError, DeniedError, NotFoundError, UnavailableError
from kernex.domain.selector import Selector
from kernex.server.access import Access, DeviceIdentity, Operator, hashed
from kernex.server.clock import Clock, milliseconds, timestamp
from kernex.server.settings import Settings
from kernex.server.store import access, deployments, events
from kernex.server.store import devices as rows
from kernex.server.store.database import Database
from kernex.server.store.devices import Device
from kernex.server.text import check_metadata, clean, cursor, json_text
from kernex.trust.assertion import PublicKey, Purpose
from kernex.wire.device import Registered, Registration
from kernex.wire.operator import EnrolmentKeyCreated, EnrolmentKeyRequest

ENROLMENT_KEY_PREFIX = "kxe_"


class RegisteredAlreadyError(ConflictError):
    """The key proved itself and has a device already: its holder may know which."""

    def __init__(self, device_id: str) -> None:
        super().__init__("cannot register this key again: it has a device already")
        self.device_id = device_id


class Devices:
    """The use cases around devices. What each changes, it changes in one transaction."""

    def __init__(self, database: Database, access_: Access, settings: Settings, clock: Clock) -> None:
        self._database, self._access, self._settings, self._clock = database, access_, settings, clock

    def register(self, request: Registration) -> Registered:
        """Take a device in by its key. The proof comes first: nobody registers, or learns about, a key
        that is not theirs."""
        key = PublicKey.parse(request.public_key)
        check_metadata("hardware_metadata", request.hardware_metadata)
        if not request.proof:
            raise self._access.nonce_required("cannot register without a proof: sign the nonce of this answer")
        self._access.check_signature(request.proof, key, Purpose.REGISTRATION, key.thumbprint)
        try:
            return self._add(request, key)
        except ConflictError:  # of several that came at once another one won
            with self._database.read() as connection:
                known = rows.by_thumbprint(connection, key.thumbprint)
            if known is None:
                raise
            raise RegisteredAlreadyError(known.device_id) from None

    def _add(self, request: Registration, key: PublicKey) -> Registered:
        now_ms = milliseconds(self._clock)
        with self._database.write() as connection:
            if rows.by_thumbprint(connection, key.thumbprint) is not None:
                raise ConflictError("cannot register this key again: it has a device already")
            enrolment = access.Enrolment({}, auto_approve=False)
            if request.enrolment_key is not None:
                found = access.use_enrolment_key(connection, hashed(request.enrolment_key), now_ms=now_ms)
                if found is None:
                    raise DeniedError(
                        "cannot use the enrolment key: it is unknown, used up or expired; ask for a new one"
                    )
                enrolment = found
            state = State.ACCEPTED if enrolment.auto_approve else State.PENDING
            stranger = state is State.PENDING and request.enrolment_key is None
            if stranger and rows.count(connection, state) >= self._settings.max_pending_devices:
                raise UnavailableError("cannot register: too many devices wait for approval", retry_after_s=600)
            device_id = str(uuid.uuid4())
            row = rows.add(
                connection,
                {
                    "device_id": device_id,
                    "thumbprint": key.thumbprint,
                    "public_key": key.pem,
                    "state": state.value,
                    "device_type": None if request.device_type is None else clean(request.device_type),
                    "hardware_metadata": json_text(request.hardware_metadata),
                    "labels": json_text(enrolment.labels),
                    "registered_ms": now_ms,
                },
            )
            told = events.Event(kind=f"device.{state}", actor="device", device=row)
            events.record(connection, [told], now_ms=now_ms)
        return Registered(device_id, state.value)

    def admit(self, device_id: str, event: Event, operator: Operator) -> Device:
        """Approve or revoke."""
        now_ms = milliseconds(self._clock)
        with self._database.write() as connection:
            one = rows.get(connection, device_id)
            state = domain.after(one.state, event)
            if state is not one.state:
                rows.move(connection, one, state)
                told = events.Event(kind=f"device.{state}", actor=operator.name, device=one.id)
                events.record(connection, [told], now_ms=now_ms)
            return rows.get(connection, device_id)

    def page(self, *, selector: Selector, after: str | None, limit: int) -> tuple[list[Device], str | None]:
        """Devices in the order of registration, and where the next page starts."""
        found: list[Device] = []
        with self._database.read() as connection:
            for one in rows.everyone(connection, after=cursor(after)):
                if len(found) == limit:
                    return found, str(found[-1].id)
                if selector.matches(domain.properties(one.facts, one.labels)):
                    found.append(one)
        return found, None

    def detail(self, device_id: str) -> tuple[Device, list[deployments.Assignment]]:
        with self._database.read() as connection:
            one = rows.get(connection, device_id)
            return one, deployments.assignments_of_device(connection, one.id, limit=20)

    def require_accepted(self, device: DeviceIdentity) -> None:
        """Refuse a valid access token whose device was shut out since."""
        try:
            with self._database.read() as connection:
                one = rows.get(connection, device.device_id)
        except NotFoundError:
            raise DeniedError("cannot act for this device: it is not registered here") from None
        if one.state is not State.ACCEPTED or one.id != device.id:
            raise DeniedError(f"cannot act for this device: it is {one.state}")

    def create_enrolment_key(self, request: EnrolmentKeyRequest, operator: Operator) -> EnrolmentKeyCreated:
        """A key that lets `uses` devices in; it is shown this once."""
        key, key_id = ENROLMENT_KEY_PREFIX + secrets.token_urlsafe(32), str(uuid.uuid4())
        now_ms = milliseconds(self._clock)
        expires_ms = now_ms + request.expires_s * 1000
        with self._database.write() as connection:
            access.add_enrolment_key(
                connection,
                {
                    "key_id": key_id,
                    "key_sha256": hashed(key),
                    "labels": json_text({clean(name): clean(value) for name, value in request.labels.items()}),
                    "uses_left": request.uses,
                    "auto_approve": request.auto_approve,
                    "created_by": operator.name,
                    "created_ms": now_ms,
                    "expires_ms": expires_ms,
                },
            )
            told = events.Event(kind="enrolment_key.created", actor=operator.name, detail={"key_id": key_id})
            events.record(connection, [told], now_ms=now_ms)
        return EnrolmentKeyCreated(key_id, key, timestamp(expires_ms))

    def enrolment_keys(self, *, after: str | None, limit: int) -> tuple[list[Any], str | None]:
        with self._database.read() as connection:
            found = access.enrolment_keys(connection, after=cursor(after), limit=limit + 1)
        return found[:limit], str(found[limit - 1].id) if len(found) > limit else None
