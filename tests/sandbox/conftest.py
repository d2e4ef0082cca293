"""What these tests need of the machine; where it is not to be had they say so, and in CI that is a failure."""

import os
from collections.abc import Iterator

import pytest
from tests.sandbox.yard import Yard, at

from kernex.agent.settings import Level


def need(level: Level, reached: Level, why_not: str) -> None:
    """Go on only where the level is reached; those below bubblewrap are judged with users of their own."""
    if level is not Level.BUBBLEWRAP and os.geteuid() != 0:
        pytest.skip("not root: apps have no users of their own")
    if reached is not level:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why_not)


@pytest.fixture
def yard() -> Iterator[Yard]:
    """A device whose scripts are contained as far as can be."""
    with Yard.opened() as opened:
        need(Level.BUBBLEWRAP, opened.level, opened.scripts.sandbox.why_not)
        yield opened


@pytest.fixture
def restricted() -> Iterator[Yard]:
    with Yard.opened(at(Level.RESTRICTED)) as opened:
        need(Level.RESTRICTED, opened.level, opened.scripts.sandbox.why_not)
        yield opened
