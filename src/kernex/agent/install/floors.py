"""Floors: the lowest sequence number that a release of an app may have here. They never sink."""

from kernex.agent.install.database import Database

_RAISE = """
INSERT INTO floor (app, min_seq)
SELECT :app, :seq WHERE NOT EXISTS (SELECT 1 FROM floor WHERE app = :app AND min_seq >= :seq)
ON CONFLICT (app) DO UPDATE SET min_seq = excluded.min_seq
"""


class Floors:
    """A bundle with a lower number is an old one that somebody plays back, however well it is signed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def floor(self, app: str) -> int:
        """0 for an app that has none."""
        return next((row["min_seq"] for row in self._database.read("SELECT * FROM floor WHERE app = ?", app)), 0)

    def raise_floor(self, app: str, seq: int) -> None:
        """At least `seq` from now on. A lower one than before changes nothing."""
        self._database.write((_RAISE, {"app": app, "seq": seq}))
