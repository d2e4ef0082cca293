"""Which process is the one that reconciles: a row that its holder renews."""

from sqlalchemy import Connection, insert, or_, update
from sqlalchemy.exc import IntegrityError

from kernex.server.store.schema import lease


def hold(connection: Connection, name: str, holder: str, *, now_ms: int, for_ms: int) -> bool:
    """Take or renew a lease; False while somebody else holds it."""
    renewed = connection.execute(
        update(lease)
        .where(lease.c.name == name, or_(lease.c.holder == holder, lease.c.expires_ms < now_ms))
        .values(holder=holder, expires_ms=now_ms + for_ms)
    )
    if renewed.rowcount == 1:
        return True
    try:
        with connection.begin_nested():
            connection.execute(insert(lease).values(name=name, holder=holder, expires_ms=now_ms + for_ms))
    except IntegrityError:
        return False
    return True
