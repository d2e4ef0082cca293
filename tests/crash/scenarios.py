"""What an agent is doing when it is struck: one deployment each, to a device that stands on something or nothing."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.agent import bundles
from tests.agent.bundles import Bundle

from kernex.domain.install import Phase

APP = "vad"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Deploying `new` where `before` were deployed, which has to end in `expected` when nothing fails but power."""

    name: str
    before: tuple[Bundle, ...]
    new: Bundle
    expected: Phase

    @property
    def old(self) -> Bundle | None:
        """What the device stands on."""
        return self.before[-1] if self.before else None

    @property
    def remains(self) -> Bundle | None:
        """What it has to stand on in the end."""
        return self.new if self.expected is Phase.SUCCEEDED else self.old


def _contents(seed: int) -> dict[str, Any]:
    """Files and links that differ from seed to seed: more and fewer, nested and not, empty and of many pieces."""
    chance = random.Random(seed)
    files: dict[str, bytes | str] = {}
    for number in range(chance.randint(0, 6)):
        depth = chance.choice([0, 0, 1, 2])
        size = chance.choice([0, 10, 4096, 9000, 70_000])
        files["/".join([*(f"d{chance.randint(0, 2)}" for _ in range(depth)), f"f{number}"])] = chance.randbytes(size)
    links = {f"l{number}": name for number, name in enumerate(files) if chance.random() < 0.4}
    return {"files": files, "links": links}


def _first(seed: int) -> Scenario:
    return Scenario("first install", (), bundles.release("2.0.0", **_contents(seed)), Phase.SUCCEEDED)


def _first_bad(seed: int) -> Scenario:
    new = bundles.release("2.0.0", probe=bundles.FAILING, **_contents(seed))
    return Scenario("first install, bad probe", (), new, Phase.ROLLED_BACK)


def _before(seed: int, **changes: Any) -> tuple[Bundle, ...]:
    """Two releases: the first of them is collected once a third works."""
    oldest = bundles.release("0.1.0", **changes)
    return oldest, bundles.release("1.0.0", **_contents(-seed - 1), **changes)


def _update(seed: int) -> Scenario:
    return Scenario("update", _before(seed), bundles.release("2.0.0", **_contents(seed)), Phase.SUCCEEDED)


def _bad_probe(seed: int) -> Scenario:
    new = bundles.release("2.0.0", probe=bundles.FAILING, rollback="true", **_contents(seed))
    return Scenario("update, bad probe", _before(seed), new, Phase.ROLLED_BACK)


def _bad_script(seed: int) -> Scenario:
    new = bundles.release("2.0.0", deploy=f"{bundles.MARKING}; exit 1", **_contents(seed))
    return Scenario("update, failing deploy script", _before(seed), new, Phase.ROLLED_BACK)


def _workload(seed: int) -> Scenario:
    run = ["sleep", "600"]
    new = bundles.release("2.0.0", run=run, **_contents(seed))
    return Scenario("update, supervised", _before(seed, run=run), new, Phase.SUCCEEDED)


def _bad_workload(seed: int) -> Scenario:
    run = ["sleep", "600"]
    new = bundles.release("2.0.0", run=run, probe=bundles.FAILING, **_contents(seed))
    return Scenario("update, supervised, bad probe", _before(seed, run=run), new, Phase.ROLLED_BACK)


def _again(seed: int) -> Scenario:
    before = _before(seed)
    return Scenario("same release again", before, before[-1], Phase.SUCCEEDED)


#: From a seed to a scenario: the seed changes what is in the releases, and so the calls that install them.
SCENARIOS: list[Callable[[int], Scenario]] = [
    _first,
    _update,
    _bad_probe,
    _bad_script,
    _first_bad,
    _workload,
    _again,
    _bad_workload,
]
