"""Figures of several parts of a suite come together in one file."""

import json
from pathlib import Path

from benchmarks._figures import Figure
from tests.figures import record


def test_a_figure_replaces_the_one_of_its_name_and_no_other(tmp_path: Path) -> None:
    record(
        "crash", [Figure(name="kill", value=1, unit="kills"), Figure(name="xfs", value=2, unit="cuts")], build=tmp_path
    )
    record("crash", [Figure(name="kill", value=10_000, unit="times", target=">= 10,000", met=True)], build=tmp_path)
    rows = json.loads((tmp_path / "crash.json").read_text())
    assert [(row["name"], row["value"], row["met"]) for row in rows] == [("kill", 10_000, True), ("xfs", 2, None)]
    assert rows[0].keys() == {"name", "value", "unit", "compared_with", "ratio", "target", "met"}
