"""``kernex deployment``: which devices shall run what, and how far they are."""

from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from kernex.cli import durations, prefixes, render, watch
from kernex.cli.client import ControlPlane
from kernex.cli.exit_codes import ExitCode
from kernex.cli.options import HERE, Connection, Output, Timeout
from kernex.cli.render import Column
from kernex.wire.operator import DeploymentSummary

app = App(name="deployment", help="Which devices shall run what, and how far they are.")

Named = Annotated[str, Parameter(help="The start of its id.")]

COLUMNS: list[Column[DeploymentSummary]] = [
    Column("deployment", lambda one: one.deployment_id),
    Column("bundle", lambda one: one.bundle),
    Column("status", lambda one: render.state(one.status)),
    Column("succeeded", lambda one: f"{one.tally.get('succeeded', 0)}/{one.targets}"),
    Column("started", lambda one: render.ago(one.created_at)),
    Column("by", lambda one: one.created_by),
    Column("reason", lambda one: one.reason or ""),
]


@app.command(name="list")
def list_(*, output: Output = "table", connection: Connection = HERE) -> None:
    """The deployments, the newest first."""
    with connection.open() as control:
        render.listing(
            control.deployments(),
            output,
            COLUMNS,
            lambda one: one.deployment_id,
            empty="nothing was deployed yet; start with: kernex deploy DIR --to '*' --watch",
        )


@app.command
def show(deployment: Named, /, *, output: Output = "table", connection: Connection = HERE) -> None:
    """One deployment: its waves, and every device with its state and reason."""
    with connection.open() as control:
        found = _find(control, deployment)
        detail, assignments = control.deployment(found), list(control.assignments(found))
    if output == "table":
        render.out().print(watch.picture(watch.Snapshot(detail, assignments), {}, rows=len(assignments)))
    else:
        render.one({"deployment": detail, "assignments": assignments}, output, [], detail.deployment_id)


@app.command(name="watch")
def watch_(
    deployment: Named,
    /,
    *,
    timeout: Timeout = None,
    connection: Connection = HERE,
) -> ExitCode:
    """Follow a deployment to its end. Ctrl-C looks away; the deployment goes on."""
    with connection.open() as control:
        found = _find(control, deployment)
        try:
            until = durations.parse(timeout) if timeout else None
            watch.judge(watch.show(render.out(), watch.follow(control, found, timeout_s=until)))
        except KeyboardInterrupt:
            render.say(watch.come_back(found))
            return ExitCode.INTERRUPTED
    return ExitCode.OK


@app.command
def abort(deployment: Named, /, *, connection: Connection = HERE) -> None:
    """Stop a deployment: no further device is touched; what is not switched yet is called back."""
    with connection.open() as control:
        found = _find(control, deployment)
        control.abort(found)
    render.say(Text(f"{render.clean(found)} is stopped; devices that run the new release keep it"))


def _find(control: ControlPlane, text: str) -> str:
    if len(text) == prefixes.WHOLE:
        return text
    return prefixes.the_only("deployment", text, control.deployments(), lambda one: (one.deployment_id,)).deployment_id
