"""Archives that real tools made, which are all the same bundle. `tests.bundle.fixtures.make` remakes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks._figures import Figure
from tests.bundle.confined import Cell
from tests.bundle.fixtures.make import HERE, RECIPES, lay_out
from tests.figures import record

from kernex.bundle.archive import describe
from kernex.bundle.build import build
from kernex.bundle.verify import check_release


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    with Cell.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def accepted() -> Iterator[set[str]]:
    names: set[str] = set()
    yield names
    if len(names) > 1:  # more than one of them was asked for
        count = len(names)
        figure = Figure(
            name="archives: benign",
            value=count,
            unit="archives of real tools accepted",
            compared_with=f"{len(RECIPES)} archives of real tools",
            ratio=count / len(RECIPES),
            target=">= 20, none refused",
            met=20 <= count == len(RECIPES),
        )
        record("crash", [figure])


@pytest.mark.parametrize("name", RECIPES)
def test_whatever_tool_packed_it_it_is_the_same_bundle(
    name: str, tmp_path: Path, cell: Cell, accepted: set[str]
) -> None:
    top, place = tmp_path / "top", tmp_path / "place"
    top.mkdir()
    place.mkdir()
    lay_out(top, long_names="ustar" not in name)
    built = build(top, tmp_path / "built.tar.zst")
    outcome = cell.run("accept", HERE / name, place)
    assert (outcome.said, outcome.died) == (built.digest, "")
    assert describe(HERE / name).descriptor == built.descriptor
    assert check_release(place, built.descriptor) == []
    accepted.add(name)


def test_there_are_many_and_all_are_small() -> None:
    archives = {path.name: path.stat().st_size for path in HERE.glob("*.tar.*")}
    assert archives.keys() == RECIPES.keys()
    assert len(archives) >= 20
    assert max(archives.values()) < 4096
