"""What the journal remembers of releases on probation."""

from kernex.agent.install.database import Database, Statement
from kernex.domain.install import Install
from kernex.domain.probation import Probation


class Probations:
    """One for each app at most. Begun and ended by the journal, with the write of the phase that does it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Probation]:
        """The newest first."""
        return [
            Probation(row["deployment_id"], row["app"], row["lasted_s"], row["starts"], row["restarts"])
            for row in self._database.read("SELECT * FROM probation ORDER BY number DESC")
        ]

    def started(self) -> str | None:
        """The agent was started: count it against the newest release, which is the one to suspect. Its deployment."""
        for suspect in self.all()[:1]:
            self._count(suspect.deployment_id, 1)
            return suspect.deployment_id
        return None

    def left(self, deployment_id: str) -> None:
        """The agent ends because it was told to: that start counts against nobody."""
        self._count(deployment_id, -1)

    def save(self, probation: Probation) -> None:
        """Remember how long it lasted and what was seen; one that ended meanwhile stays ended."""
        self._database.write(
            (
                "UPDATE probation SET lasted_s = ?, restarts = ? WHERE deployment_id = ?",
                (probation.lasted_s, probation.restarts, probation.deployment_id),
            )
        )

    def end(self, deployment_id: str) -> None:
        """It lasted."""
        self._database.write(*self.ending(deployment_id))

    def _count(self, deployment_id: str, starts: int) -> None:
        self._database.write(
            ("UPDATE probation SET starts = starts + ? WHERE deployment_id = ?", (starts, deployment_id))
        )

    @staticmethod
    def beginning(install: Install) -> list[Statement]:
        return [
            ("DELETE FROM probation WHERE app = ?", (install.app,)),
            ("INSERT INTO probation (app, deployment_id) VALUES (?, ?)", (install.app, install.deployment_id)),
        ]

    @staticmethod
    def ending(deployment_id: str) -> list[Statement]:
        return [("DELETE FROM probation WHERE deployment_id = ?", (deployment_id,))]
