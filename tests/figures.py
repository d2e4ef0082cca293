"""What a suite found, as rows of ``build/SUITE.json``: for the parts of a suite that run apart from each other."""

import fcntl
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks._figures import Figure

BUILD = Path(__file__).resolve().parents[1] / "build"


def record(suite: str, figures: Iterable[Figure], *, build: Path = BUILD) -> None:
    """Add the figures; each replaces the row of its name. Several processes may record at the same time."""
    build.mkdir(parents=True, exist_ok=True)
    with (build / f"{suite}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        rows = {row["name"]: row for row in json.loads(file.read() or "[]")}
        rows |= {figure.name: asdict(figure) for figure in figures}
        file.truncate(0)
        file.write(json.dumps(list(rows.values()), indent=2) + "\n")
