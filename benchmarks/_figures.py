"""The one form of every figure: a table for people, ``build/bench/NAME.json`` for programs.

A figure is a ratio to something measured in the same run, because machines are noisy.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`ratio` is `value` through that of `compared_with`; `target` is in the unit that `met` was judged by."""

    name: str
    value: float
    unit: str
    compared_with: str | None = None
    ratio: float | None = None
    target: str | None = None
    met: bool | None = None


def publish(benchmark: str, figures: Sequence[Figure]) -> None:
    """Print the figures and write them to ``build/bench``."""
    table = Table(title=benchmark, title_justify="left")
    for column in ("figure", "value", "compared with", "ratio", "target", "met"):
        table.add_column(column, justify="right" if column in ("value", "ratio") else "left")
    for one in figures:
        met = "" if one.met is None else ("yes" if one.met else "no")
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        table.add_row(one.name, f"{one.value:,.1f} {one.unit}", one.compared_with or "", ratio, one.target or "", met)
    Console().print(table)
    path = Path("build/bench") / f"{benchmark}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n")
