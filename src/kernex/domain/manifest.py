"""What a bundle says of itself: the content of its ``manifest.json``.

Only `version` is required. Reading the bytes (size, depth, duplicate keys) is `kernex.bundle.manifest`;
here are the values and the rules that hold between them.
"""

import re
import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Literal

from kernex.domain.bundle import DEFAULT_NAME, BundleRef
from kernex.domain.errors import RejectedError

MAX_SCRIPT_S = 3600.0  # seconds; the longest that any script of a bundle may run
INTERPRETERS = {".py": "python3", ".sh": "sh"}  # for scripts without an executable bit


class Permission(StrEnum):
    """What a bundle may ask for beyond its own files. A device grants what its owner allows."""

    NETWORK = "network"  #: the device's network, its loopback included; without it there is none
    GPU = "gpu"  #: the devices that compute or see: GPUs, accelerators, cameras
    PRIVILEGED = "privileged"  #: no sandbox: it runs as the agent does


def command_line(script: str) -> list[str]:
    """`script` split as a shell would; the first word must name a file inside the bundle."""
    try:
        words = shlex.split(script)
    except ValueError as error:
        raise RejectedError(f"cannot split the script {script[:80]!r}: {error}") from None
    if not words:
        raise RejectedError("cannot run an empty script: name a file of the bundle")
    path = PurePosixPath(words[0])
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in script:
        raise RejectedError(f"cannot run {words[0][:80]!r}: a script is a file inside the bundle, named relative to it")
    return [str(path), *words[1:]]


def _within(what: str, seconds: float, longest: float = MAX_SCRIPT_S) -> None:
    if not 0 < seconds <= longest:
        raise RejectedError(f"cannot use {what} {seconds:g}: it is in seconds, above 0 and at most {longest:g}")


@dataclass(frozen=True, slots=True)
class Deploy:
    """The script that puts the release to work and ends."""

    script: str
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        command_line(self.script)
        _within("deploy.timeout_s", self.timeout_s)


@dataclass(frozen=True, slots=True)
class Run:
    """The process that the agent keeps running."""

    command: list[str]
    restart: Literal["always", "on-failure", "never"] = "always"
    stop_timeout_s: float = 10.0  # from SIGTERM to SIGKILL

    def __post_init__(self) -> None:
        if not self.command or not all(self.command) or any("\0" in word for word in self.command):
            raise RejectedError('cannot use run.command: it is a list of words, like ["python3", "serve.py"]')
        _within("run.stop_timeout_s", self.stop_timeout_s)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound on one metric of the probe, like ``>=0.8``."""

    operator: str
    bound: float

    _FORM = re.compile(r"\s*(>=|<=|==|>|<)\s*([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*")

    @classmethod
    def parse(cls, text: str) -> "Threshold":
        match = cls._FORM.fullmatch(text)
        if match is None:
            raise RejectedError(f"cannot read the threshold {text[:80]!r}: write >=0.8, <=20, ==1, >0 or <5")
        return cls(match[1], float(match[2]))

    def holds(self, value: float) -> bool:
        match self.operator:
            case ">=":
                return value >= self.bound
            case "<=":
                return value <= self.bound
            case ">":
                return value > self.bound
            case "<":
                return value < self.bound
            case _:
                return value == self.bound

    def __str__(self) -> str:
        return f"{self.operator}{self.bound:g}"


@dataclass(frozen=True, slots=True)
class Health:
    """How the device finds out that the release works.

    A probe that gives no verdict (it crashed, or printed no JSON line) is asked again until the
    deadline: the workload may still be starting. A verdict counts: `successes` good ones in a row pass,
    `failures` bad ones in a row fail at once.
    """

    script: str
    deadline_s: float = 60.0
    interval_s: float = 1.0
    timeout_s: float = 30.0
    successes: int = 1
    failures: int = 3
    thresholds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        command_line(self.script)
        _within("health.deadline_s", self.deadline_s)
        _within("health.interval_s", self.interval_s)
        _within("health.timeout_s", self.timeout_s)
        if not (1 <= self.successes <= 100 and 1 <= self.failures <= 100):
            raise RejectedError("cannot use health.successes or health.failures outside 1 to 100")
        for text in self.thresholds.values():
            Threshold.parse(text)

    def broken_thresholds(self, metrics: dict[str, float]) -> list[str]:
        """The reasons why `metrics` do not pass, in words; empty when they do."""
        reasons = []
        for name, text in self.thresholds.items():
            threshold, value = Threshold.parse(text), metrics.get(name)
            if value is None:
                reasons.append(f"{name} was not measured (needs {threshold})")
            elif not threshold.holds(value):
                reasons.append(f"{name} {value:g} (needs {threshold})")
        return reasons


@dataclass(frozen=True, slots=True)
class Rollback:
    """The script that undoes what the deploy script did outside the release."""

    script: str
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        command_line(self.script)
        _within("rollback.timeout_s", self.timeout_s)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest, read. `model` is free-form: it describes, nothing depends on its shape.

    `critical` lists field names that a reader must understand or refuse the bundle, as ``crit`` does in
    RFC 7515; every other unknown field is ignored.
    """

    version: str
    name: str = DEFAULT_NAME
    description: str = ""
    model: Any = None
    requires: dict[str, str] = field(default_factory=dict)
    deploy: Deploy | None = None
    run: Run | None = None
    health: Health | None = None
    rollback: Rollback | None = None
    permissions: list[str] = field(default_factory=list)
    critical: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        BundleRef(self.name, self.version)
        for name in self.permissions:
            if name not in set(Permission):
                raise RejectedError(f"cannot ask for the permission {name[:80]!r}: there are {', '.join(Permission)}")
        unknown = sorted(set(self.critical) - set(self.__slots__))
        if unknown:
            raise RejectedError(
                f"cannot obey the critical manifest field {unknown[0][:80]!r}: this version of Kernex does not know it"
            )

    @property
    def ref(self) -> BundleRef:
        return BundleRef(self.name, self.version)

    @property
    def asks_for(self) -> frozenset[Permission]:
        """Its permissions, each once."""
        return frozenset(map(Permission, self.permissions))

    @property
    def scripts(self) -> list[str]:
        """Every file of the bundle that the manifest runs by name."""
        declared = (self.deploy, self.health, self.rollback)
        return [command_line(part.script)[0] for part in declared if part is not None]
