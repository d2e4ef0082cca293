"""The story, in three deployments, and what must be true after each. What is not true is said, as an error."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from kernex.bundle.build import build
from kernex.cli import durations, render, watch
from kernex.cli.demo.bundles import BAD, FIXED, GOOD, NAME, Release
from kernex.cli.demo.stage import DEVICES, LABELS, Stage
from kernex.cli.watch import Snapshot
from kernex.domain.assignment import State
from kernex.domain.errors import KernexError
from kernex.wire.operator import AssignmentReport, DeploymentRequest, StrategyRequest

MODELS = (GOOD.model, BAD.model)
WAVES = ["1", "50%", "100%"]
NEEDED = 0.8  # share of speech, as in the manifest's threshold
SELECTOR = render.pairs(LABELS)
TIMEOUT_S = 120  # for one deployment
REPORT_S = 20.0  # for the last heartbeats to tell what runs
POLL_S = 0.2


class AnotherStoryError(KernexError):
    """What happened is not what the demo is about."""


@dataclass(slots=True)
class Told:
    """What was really run, as the control plane has it."""

    probes: int = 0
    inferences: int = 0
    speech: dict[str, float] = field(default_factory=dict)  # version -> share of speech that its probes measured

    def count(self, release: Release, snapshot: Snapshot) -> None:
        """Add what the probes of a deployment measured."""
        probed = [one for one in snapshot.assignments if "frames" in one.metrics]
        self.probes += len(probed)
        self.inferences += sum(int(one.metrics["frames"]) for one in probed)
        self.speech[release.version] = min(one.metrics["speech"] for one in probed)

    def say(self, stage: Stage, *, seconds: float) -> None:
        """The facts at the end."""
        measured = ", ".join(f"{version} {percent(share)}" for version, share in self.speech.items())
        say(Text("What was really run", style="bold"))
        say(f"  processes   {stage.running}: 1 control plane, {stage.running - 1} agents, each supervising its release")
        say(f"  probes      {self.probes} on {DEVICES} devices, {self.inferences} inferences of the model in them")
        say(f"  speech      {measured}")
        say(f"  now         {_running(stage)}")
        say(f"  time        {durations.say(seconds)}")


def say(text: str | Text) -> None:
    """The story goes to stdout: it is what was asked for."""
    render.out().print(Text(text) if isinstance(text, str) else text)


def percent(share: float) -> str:
    """A share in hundredths."""
    return f"{100 * share:.0f} %"


def open_on(stage: Stage) -> None:
    """Who plays."""
    say(f"✔ control plane  {stage.url}, a process of its own with SQLite and a real socket")
    say(f"✔ {len(stage.names)} devices      enrolled with one key ({SELECTOR}), a process each\n")


def tell(stage: Stage, models: Mapping[str, Path]) -> Told:
    """All three acts; AnotherStoryError as soon as one does not end as it should."""
    told = Told()
    say(_title(GOOD, f"Silero VAD {GOOD.model}"))
    _all_run(stage, GOOD, _act(stage, GOOD, models, told))
    say(_title(BAD, f"only the model changed: Silero VAD {BAD.model}"))
    _put_back(stage, _act(stage, BAD, models, told))
    say(_title(FIXED, "the wrapper now hands the model the 64 samples of context that it wants"))
    _all_run(stage, FIXED, _act(stage, FIXED, models, told))
    _must(stage.running == DEVICES + 1, f"all {DEVICES + 1} processes still run, not {stage.running}")
    return told


def invite(stage: Stage) -> None:
    """What to do with it while it runs."""
    say("\nIt all runs on. In another terminal:")
    say(f"  export KERNEX_URL={stage.url} KERNEX_TOKEN={stage.token}")
    say("  kernex device list; kernex deployment list; kernex bundle list")
    say("Ctrl-C ends it.")


def _act(stage: Stage, release: Release, models: Mapping[str, Path], told: Told) -> Snapshot:
    """Build, push, deploy and watch one release."""
    directory = release.lay_out(models[release.model], stage.root / "bundles" / release.ref)
    packed = directory.with_name(f"{release.ref}.tar.zst")
    built = build(directory, packed)
    with packed.open("rb") as file:
        pushed = stage.control.upload(file, packed.name)
    say(f"  pushed {release.ref}: {len(built.descriptor.files)} files, {render.size(built.archive_bytes)}")
    created = stage.control.deploy(
        DeploymentRequest(bundle_id=pushed.bundle_id, selector=SELECTOR, strategy=StrategyRequest(waves=list(WAVES)))
    )
    snapshots = watch.follow(stage.control, created.deployment_id, timeout_s=TIMEOUT_S, poll_s=POLL_S)
    last = watch.show(render.out(), _checked(stage, snapshots), stage.names, transient=True)
    told.count(release, last)
    return last


def _checked(stage: Stage, snapshots: Iterator[Snapshot]) -> Iterator[Snapshot]:
    """The same, as long as everybody plays."""
    for snapshot in snapshots:
        stage.check()
        yield snapshot


def _all_run(stage: Stage, release: Release, last: Snapshot) -> None:
    succeeded = [one for one in last.assignments if one.state == State.SUCCEEDED]
    _must(last.detail.status == "completed", f"{release.ref} is deployed, not {last.detail.status}")
    _must(len(succeeded) == DEVICES, f"{release.ref} succeeds on all {DEVICES} devices, not on {len(succeeded)}")
    heard = min(one.metrics["speech"] for one in succeeded)
    _must(heard >= NEEDED, f"the probes of {release.ref} hear speech, not {percent(heard)}")
    _wait_until(lambda: _versions(stage) == [release.version] * DEVICES, f"all devices say that they run {release.ref}")
    good = f"✔ {len(succeeded)}/{DEVICES} run {release.ref}; their probes measured {percent(heard)} speech\n"
    say(Text(good, style="green"))


def _put_back(stage: Stage, last: Snapshot) -> None:
    canaries = [one for one in last.assignments if one.wave == 1]
    others = [one for one in last.assignments if one.wave > 1]
    _must(last.detail.status == "aborted", f"the deployment of {BAD.ref} stops, not: {last.detail.status}")
    _must([one.state for one in canaries] == [State.ROLLED_BACK], "the one canary is rolled back")
    canary = canaries[0]
    heard = canary.metrics["speech"]
    _must(heard < NEEDED, f"the probe of {BAD.ref} hears nothing, not {percent(heard)} speech")
    untouched = [one for one in others if one.state == State.CANCELLED and one.phase is None]
    _must(len(untouched) == DEVICES - 1, f"{DEVICES - 1} devices are not touched, not {len(untouched)}")
    _wait_until(lambda: _versions(stage) == [GOOD.version] * DEVICES, f"all devices say that they run {GOOD.ref}")
    name = stage.names[canary.device_id]
    say(
        Text(
            f"✖ {name}: the probe measured {percent(heard)} speech (needs {percent(NEEDED)}); no error, no crash",
            style="red",
        )
    )
    say(f"↩ the canary {name} is back on {GOOD.version}, {_took(last, canary)} after the deployment began")
    say(f"✔ the deployment stopped ({last.detail.reason}); the other {len(untouched)} devices were not touched\n")


def _title(release: Release, what: str) -> Text:
    waves = ", ".join(WAVES)
    return Text.assemble(("▶ ", "yellow"), (release.ref, "bold"), f" → {SELECTOR}  waves {waves}; {what}")


def _took(last: Snapshot, one: AssignmentReport) -> str:
    return durations.say((one.updated_at - last.detail.created_at).total_seconds())


def _versions(stage: Stage) -> list[str | None]:
    return [device.apps.get(NAME) for device in stage.control.devices(SELECTOR)]


def _running(stage: Stage) -> str:
    versions = _versions(stage)
    return ", ".join(f"{versions.count(one)}/{DEVICES} on {NAME}=={one}" for one in sorted(set(versions), key=str))


def _wait_until(holds: Callable[[], bool], what: str) -> None:
    """Devices say what they run with their next heartbeat."""
    ends = time.monotonic() + REPORT_S
    while not holds():
        _must(time.monotonic() < ends, what)
        time.sleep(POLL_S)


def _must(holds: bool, what: str) -> None:
    if not holds:
        another = AnotherStoryError(f"cannot tell the story: it needs that {what}")
        another.add_note("kernex demo --data-dir D keeps every log, in D")
        raise another
