"""What the journal remembers of releases on probation."""

from kernex.agent.install.database import Database, Statement
from kernex.domain.install import Install
from kernex.domain.probation import Probation

_STARTED = """
UPDATE probation SET alive = 1,
    deaths = deaths + (alive AND :blame AND number = (SELECT max(number) FROM probation))
"""


class Probations:
    """One for each app at most. Begun and ended by the journal, with the write of the phase that does it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Probation]:
        """The newest first."""
        return [
            Probation(row["deployment_id"], row["app"], row["lasted_s"], row["deaths"], row["restarts"])
            for row in self._database.read("SELECT * FROM probation ORDER BY number DESC")
        ]

    def agent_started(self, *, blame: bool) -> None:
        """If the agent before this one was not told to stop and `blame` is true, the newest release did it."""
        self._database.write((_STARTED, {"blame": blame}))

    def agent_left(self) -> None:
        """The agent ends because it was told to."""
        self._database.write(("UPDATE probation SET alive = 0", ()))

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

    @staticmethod
    def beginning(install: Install) -> list[Statement]:
        return [
            ("DELETE FROM probation WHERE app = ?", (install.app,)),
            ("INSERT INTO probation (app, deployment_id) VALUES (?, ?)", (install.app, install.deployment_id)),
        ]

    @staticmethod
    def ending(deployment_id: str) -> list[Statement]:
        return [("DELETE FROM probation WHERE deployment_id = ?", (deployment_id,))]
