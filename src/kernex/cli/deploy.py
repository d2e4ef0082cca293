"""``kernex deploy``: this bundle, to these devices."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kernex.cli import durations, publish, render, watch
from kernex.cli.client import ControlPlane
from kernex.cli.exit_codes import ExitCode
from kernex.cli.options import HERE, Connection, Output, SelectorText, Timeout, checked
from kernex.domain.bundle import BundleRef
from kernex.domain.deployment import Share, Strategy
from kernex.domain.errors import NotFoundError, RejectedError
from kernex.wire.operator import DeploymentRequest, StrategyRequest

app = App(name="deploy")


def _bundle(text: str) -> BundleRef | Path:
    """What people name to be deployed: NAME==VERSION, or a directory."""
    if "==" in text and not Path(text).is_dir():
        return BundleRef.parse(text)
    if not Path(text).is_dir():
        raise RejectedError(f"cannot deploy {text[:80]!r}: name a bundle like vad==1.4.0, or a directory")
    return Path(text)


Bundle = Annotated[
    str,
    Parameter(
        validator=checked(_bundle),
        help="NAME==VERSION, or a directory with a manifest.json, which is built and pushed first.",
    ),
]
Waves = Annotated[
    str,
    Parameter(
        validator=checked(lambda text: Strategy.parse(text.split(","))),
        help="How it spreads: 1,25%,100% is one device, then up to a quarter, then all.",
    ),
]
MaxFailures = Annotated[
    str, Parameter(validator=checked(Share.parse), help="More failed devices than this, 5 or 10%, stop it.")
]


@app.default
def deploy(
    bundle: Bundle,
    /,
    *,
    to: Annotated[SelectorText, Parameter(help="Which devices: site=lyon,arch=aarch64, or '*' for all.")],
    waves: Waves = "100%",
    max_failures: MaxFailures = "0",
    wait: Annotated[bool, Parameter(negative=(), help="Wait for its end: exit code 0, or 6.")] = False,
    watch_it: Annotated[bool, Parameter(name="--watch", negative=(), help="Wait, and show what happens.")] = False,
    timeout: Timeout = None,
    output: Output = "table",
    connection: Connection = HERE,
) -> ExitCode:
    """Deploy a bundle to all devices that a selector picks, and print the id of the deployment."""
    with connection.open() as control:
        _refuse_nobody(control, to)
        strategy = StrategyRequest(waves=list(waves.split(",")), max_failures=max_failures)
        created = control.deploy(_request(control, _bundle(bundle), to, strategy))
        found = render.clean(created.deployment_id)
        print(found, flush=True) if output in ("table", "name") else render.data(created, output)
        targets = control.deployment(found).targets
        render.say(f"{bundle} goes to {targets} {'device' if targets == 1 else 'devices'}")
        if not (wait or watch_it):
            render.say(f"follow it with: kernex deployment watch {found}")
            return ExitCode.OK
        snapshots = watch.follow(control, found, timeout_s=durations.parse(timeout) if timeout else None)
        try:
            last = watch.show(render.err(), snapshots) if watch_it else list(snapshots)[-1]
        except KeyboardInterrupt:
            render.say(watch.come_back(found))
            return ExitCode.INTERRUPTED
        watch.judge(last)
    render.say(f"{last.detail.bundle} runs on {last.detail.targets} of {last.detail.targets}")
    return ExitCode.OK


def _refuse_nobody(control: ControlPlane, selector: str) -> None:
    """Before anything is built or sent: is there a device at all?"""
    if next(control.devices(selector), None) is None:
        nobody = NotFoundError(f"cannot deploy to nothing: no device matches {selector!r}")
        nobody.add_note("see what there is: kernex device list")
        raise nobody


def _request(
    control: ControlPlane, what: BundleRef | Path, selector: str, strategy: StrategyRequest
) -> DeploymentRequest:
    if isinstance(what, Path):
        pushed = publish.push(control, what)
        return DeploymentRequest(bundle_id=pushed.bundle_id, selector=selector, strategy=strategy)
    return DeploymentRequest(bundle_version=what.version, name=what.name, selector=selector, strategy=strategy)
