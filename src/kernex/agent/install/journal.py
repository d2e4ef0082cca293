"""The journal and the outbox: every install, in ``state.db``. What it says is what recovery believes."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from kernex.agent.install.database import Database, Statement
from kernex.agent.install.floors import Floors
from kernex.agent.install.probations import Probations
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError
from kernex.domain.install import Install, Phase

KEPT = 200  # acknowledged installs that are remembered, so that an old command never installs again

#: An install that goes on after its outcome was told (a success that is being undone) has an outcome to tell again.
_WRITE = """
INSERT INTO install (
    deployment_id, app, bundle_id, version, digest, archive_sha256, archive_bytes, previous,
    phase, tries, error, metrics, final
) VALUES (
    :deployment_id, :app, :bundle_id, :version, :digest, :archive_sha256, :archive_bytes, :previous,
    :phase, :tries, :error, :metrics, :final
) ON CONFLICT (deployment_id) DO UPDATE SET
    previous = excluded.previous, phase = excluded.phase, tries = excluded.tries, error = excluded.error,
    metrics = excluded.metrics, final = excluded.final, acknowledged = acknowledged AND excluded.final
"""
_ACKNOWLEDGE = "UPDATE install SET acknowledged = 1 WHERE deployment_id = ? AND phase = ? AND final = 1"
_FORGET = """
DELETE FROM install WHERE acknowledged = 1 AND number NOT IN
(SELECT number FROM install WHERE acknowledged = 1 ORDER BY number DESC LIMIT ?)
"""


class Journal:
    """Safe to use from several threads. A write is on disk when it returns, or raises UnavailableError.

    `make_room` is asked when the disk is full (`kernex.agent.install.space.Ballast`).
    """

    def __init__(self, path: Path, make_room: Callable[[], bool] = lambda: False) -> None:
        self._database = Database(path, make_room)
        self.probations, self.floors = Probations(self._database), Floors(self._database)

    def close(self) -> None:
        self._database.close()

    def write(self, install: Install) -> Install:
        """Remember where this install is; returns it. A success that replaced something begins its probation
        with the same write, and what undoes it ends it."""
        row = asdict(install) | {"final": install.phase.final, "metrics": msgspec.json.encode(install.metrics).decode()}
        statements: list[Statement] = [(_WRITE, {name: _plain(value) for name, value in row.items()})]
        if install.phase is Phase.SUCCEEDED and install.digest != install.previous:
            statements += self.probations.beginning(install)
        elif install.phase is Phase.RESTORING:
            statements += self.probations.ending(install.deployment_id)
        self._database.write(*statements)
        return install

    def find(self, deployment_id: str) -> Install | None:
        return next(iter(self._select("SELECT * FROM install WHERE deployment_id = ?", deployment_id)), None)

    def unfinished(self) -> Install | None:
        """The install that a recovery has to finish."""
        return next(iter(self._select("SELECT * FROM install WHERE final = 0 ORDER BY number")), None)

    def unacknowledged(self) -> list[Install]:
        """Outcomes that the control plane has not confirmed, the oldest first."""
        return self._select("SELECT * FROM install WHERE acknowledged = 0 AND final = 1 ORDER BY number")

    def latest(self, count: int) -> list[Install]:
        """The newest installs, the oldest of them first."""
        return self._select("SELECT * FROM install ORDER BY number DESC LIMIT ?", count)[::-1]

    def acknowledge(self, outcomes: Iterable[tuple[str, Phase]]) -> None:
        """The control plane has these outcomes, by deployment; one that was revised since is still to be told.
        Forgets the oldest beyond KEPT."""
        told: list[Statement] = [(_ACKNOWLEDGE, outcome) for outcome in outcomes]
        self._database.write(*told, (_FORGET, (KEPT,)))

    def repeat(self, deployment_id: str) -> None:
        """The control plane asks for an outcome that it confirmed: tell it again."""
        self._database.write(("UPDATE install SET acknowledged = 0 WHERE deployment_id = ?", (deployment_id,)))

    def _select(self, query: str, *values: Any) -> list[Install]:
        return [_install(row) for row in self._database.read(query, *values)]


def _plain(value: Any) -> Any:
    """SQLite takes neither enums nor digests, only the strings that they are."""
    return str(value) if isinstance(value, str) else value


def _install(row: sqlite3.Row) -> Install:
    try:
        phase = Phase(row["phase"])
    except ValueError:
        raise RejectedError(f"cannot read the journal: it speaks of the phase {row['phase'][:40]!r}") from None
    return Install(
        deployment_id=row["deployment_id"],
        app=row["app"],
        bundle_id=row["bundle_id"],
        version=row["version"],
        digest=Digest(row["digest"]),
        archive_sha256=Digest(row["archive_sha256"]),
        archive_bytes=row["archive_bytes"],
        previous=Digest(row["previous"]) if row["previous"] is not None else None,
        phase=phase,
        tries=row["tries"],
        error=row["error"],
        metrics=msgspec.json.decode(row["metrics"], type=dict[str, float]),
    )
