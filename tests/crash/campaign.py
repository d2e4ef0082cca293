"""Which strikes there are, and how many of them: everything for `make crash`, a sample for every test run."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.bench import Bench, Stage, Strike, Struck
from tests.crash.mounts import SIZES
from tests.crash.points import Action, Point, Weakness
from tests.crash.scenarios import SCENARIOS

FILE_SYSTEMS = tuple(SIZES)
KILLS, DOUBLES, FULL = "kill", "double crash", "full disk"
CONTROLS = "negative controls"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Strikes of one kind at one scenario with one content, all on one bench. `one_in` takes a share of the points."""

    row: str
    scenario: int
    seed: int
    file_system: str = ""  # empty: in memory, and the process is killed instead of the power cut
    one_in: int = 1
    twice: int = 0  # so many double crashes at random places, instead
    failing: bool = False  # the disk fails, instead

    @property
    def deadly(self) -> Action:
        return Action.POWER_CUT if self.file_system else Action.KILL

    def strikes(self, stage: Stage) -> Iterator[Strike]:
        chance = random.Random(f"{self.row} {self.scenario} {self.seed} {self.file_system}")
        points = stage.points
        if self.twice:
            last = len(stage.trace)
            for _ in range(self.twice):
                first = chance.choice(points)
                # What is left to do shrinks with what was done; the second strike has to come before its end.
                second = Point(1 + chance.randrange(max(8, last - first.number)), after=chance.random() < 0.5)
                yield Strike(self.deadly, first, second)
        elif self.failing:
            befores = [point for point in points if not point.after]
            for action in (Action.NO_SPACE, Action.IO_ERROR):
                yield from (Strike(action, point) for point in _share(befores, self.one_in, chance))
        else:
            yield from (Strike(self.deadly, point) for point in _share(points, self.one_in, chance))


@dataclass(frozen=True, slots=True)
class Control:
    """A promise taken away, and where that has to be found. A suite that does not find it cannot be believed."""

    name: str
    weakness: Weakness
    scenario: int
    file_system: str = ""
    row: str = CONTROLS
    seed: int = 3

    def strikes(self, stage: Stage) -> Iterator[Strike]:
        action = Action.POWER_CUT if self.file_system else Action.KILL
        points = stage.points
        random.Random(self.name).shuffle(points)
        yield from (Strike(action, point, weakness=self.weakness) for point in points)


_UPDATE, _BAD_PROBE = 1, 2
CONTROLS_OF: dict[str, list[Control]] = {
    "": [Control("a swap in two steps", Weakness.SPLIT_SWAP, _UPDATE)],
    "ext4": [
        Control("files not synced", Weakness.NO_FILE_SYNC, _UPDATE, "ext4"),
        Control("a NORMAL journal", Weakness.NO_WAL_SYNC, _BAD_PROBE, "ext4"),
    ],
    "xfs": [
        Control("files not synced", Weakness.NO_FILE_SYNC, _UPDATE, "xfs"),
        Control("a NORMAL journal", Weakness.NO_WAL_SYNC, _BAD_PROBE, "xfs"),
    ],
}


@dataclass(slots=True)
class Report:
    """What came of a chunk or a control."""

    what: Chunk | Control
    struck: list[Struck] = field(default_factory=list)
    scenario: str = ""

    @property
    def hits(self) -> list[Struck]:
        """Strikes that struck: those at a point that was reached, and for double crashes at both."""
        wanted = 2 if isinstance(self.what, Chunk) and self.what.twice else 1
        return [one for one in self.struck if len(one.places) >= wanted]

    @property
    def distinct(self) -> set[tuple[object, ...]]:
        return {(self.what.file_system, self.scenario, self.what.seed, *one.places, one.strike) for one in self.hits}

    @property
    def violations(self) -> list[str]:
        return [
            f"{self.scenario} (seed {self.what.seed}) on {self.what.file_system or 'memory'}, {one.strike} "
            f"[{', then '.join(one.places)}]: {violation}"
            for one in self.struck
            for violation in one.violations
        ]


def run(what: Chunk | Control, directory: Path) -> Report:
    """On a bench of its own."""
    with Bench.ready(directory, what.file_system) as bench:
        return run_on(bench, what)


def run_on(bench: Bench, what: Chunk | Control) -> Report:
    """Every strike; of a control only as many as it takes to find what is wrong."""
    stage = bench.set(SCENARIOS[what.scenario](what.seed))
    report = Report(what, scenario=stage.scenario.name)
    for strike in what.strikes(stage):
        report.struck.append(bench.strike(stage, strike))
        if isinstance(what, Control) and report.struck[-1].violations:
            break
    bench.drop(stage)
    return report


def everything(file_systems: Sequence[str]) -> list[Chunk | Control]:
    """What `make crash` runs; something of every kind comes early."""
    scenarios = range(len(SCENARIOS))
    kills = [Chunk(KILLS, one, seed) for seed in range(4) for one in scenarios]
    kills += [Chunk(KILLS, one, 4, one_in=3) for one in scenarios]
    cuts = [Chunk(fs, one, seed, fs) for fs in file_systems for seed in (10, 11) for one in scenarios]
    cuts += [Chunk(fs, one, 12, fs, one_in=3) for fs in file_systems for one in scenarios]
    places = ("", *file_systems)
    twice = 1_000 // (len(scenarios) * len(places)) + 12
    doubles = [Chunk(DOUBLES, one, 20, place, twice=twice) for place in places for one in scenarios]
    failing = [Chunk(FULL, one, 30, one_in=3, failing=True) for one in scenarios]
    controls = [one for place in places for one in CONTROLS_OF[place]]
    chunks: list[Chunk | Control] = [*controls, *failing, *doubles, *cuts, *kills]
    random.Random(0).shuffle(chunks)
    return chunks


def _share(points: Sequence[Point], one_in: int, chance: random.Random) -> Sequence[Point]:
    """Evenly over the whole, beginning anywhere."""
    return points[chance.randrange(one_in) :: one_in]
