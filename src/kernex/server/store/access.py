"""Rows of credentials: only hashes are stored, so a stolen database opens nothing."""

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from kernex.domain.errors import UnauthenticatedError
from kernex.domain.role import Role
from kernex.server.store.schema import api_token, enrolment_key, setting, spent_nonce


def setting_or(connection: Connection, name: str, made: str) -> str:
    """The stored value, or `made`, which is stored: of several processes exactly one wins."""
    found = connection.scalar(select(setting.c.value).where(setting.c.name == name))
    if found is not None:
        return str(found)
    connection.execute(insert(setting).values(name=name, value=made))
    return made


def add_token(
    connection: Connection, *, name: str, role: Role, token_sha256: str, now_ms: int, expires_ms: int
) -> None:
    connection.execute(
        insert(api_token).values(
            name=name, role=role.value, token_sha256=token_sha256, created_ms=now_ms, expires_ms=expires_ms
        )
    )


def find_token(connection: Connection, token_sha256: str, *, now_ms: int) -> tuple[str, Role] | None:
    """Name and role of a token that has not expired."""
    row = connection.execute(
        select(api_token.c.name, api_token.c.role).where(
            api_token.c.token_sha256 == token_sha256, api_token.c.expires_ms > now_ms
        )
    ).first()
    return None if row is None else (row.name, Role(row.role))


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an enrolment key gives to a device that registers with it."""

    labels: dict[str, str]
    auto_approve: bool


def add_enrolment_key(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(insert(enrolment_key).values(**values))


def enrolment_keys(connection: Connection, *, after: int, limit: int) -> list[Any]:
    query = select(enrolment_key).where(enrolment_key.c.id > after).order_by(enrolment_key.c.id).limit(limit)
    return list(connection.execute(query))


def use_enrolment_key(connection: Connection, key_sha256: str, *, now_ms: int) -> Enrolment | None:
    """Take one use of a key; None when it is unknown, used up or expired."""
    row = connection.execute(
        update(enrolment_key)
        .where(
            enrolment_key.c.key_sha256 == key_sha256,
            enrolment_key.c.uses_left > 0,
            enrolment_key.c.expires_ms > now_ms,
        )
        .values(uses_left=enrolment_key.c.uses_left - 1)
        .returning(enrolment_key.c.labels, enrolment_key.c.auto_approve)
    ).first()
    return None if row is None else Enrolment(msgspec.json.decode(row.labels, type=dict[str, str]), row.auto_approve)


def spend_nonce(connection: Connection, nonce_id: str, *, now_ms: int, expires_ms: int) -> None:
    """Mark a nonce as used. Raises UnauthenticatedError when it was used before."""
    connection.execute(delete(spent_nonce).where(spent_nonce.c.expires_ms < now_ms))
    try:
        with connection.begin_nested():
            connection.execute(insert(spent_nonce).values(nonce_id=nonce_id, expires_ms=expires_ms))
    except IntegrityError:
        raise UnauthenticatedError("cannot accept the signature: its nonce was used before") from None
