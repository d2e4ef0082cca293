"""``kernex device``: the machines of the fleet."""

from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from kernex.cli import prefixes, render
from kernex.cli.client import ControlPlane
from kernex.cli.options import HERE, Connection, Output, SelectorText
from kernex.cli.render import Column
from kernex.wire.operator import DeviceAssignment, DeviceDetail, DeviceSummary

app = App(name="device", help="The machines of the fleet.")

Named = Annotated[str, Parameter(help="The start of its id or of its fingerprint.")]


def _runs(device: DeviceSummary) -> str:
    return ", ".join(f"{name}=={version}" for name, version in sorted(device.apps.items()))


def _online(device: DeviceSummary) -> Text:
    return Text("● online", style="green") if device.online else Text("○ offline", style="dim")


COLUMNS: list[Column[DeviceSummary]] = [
    Column("device", lambda device: device.device_id),
    Column("admission", lambda device: render.state(device.status)),
    Column("online", _online),
    Column("heard", lambda device: render.ago(device.last_heartbeat)),
    Column("runs", _runs),
    Column("labels", lambda device: render.pairs(device.labels)),
    Column("agent", lambda device: device.agent_version),
    Column("fingerprint", lambda device: device.fingerprint[:16]),
]


@app.command(name="list")
def list_(
    *,
    selector: Annotated[
        SelectorText | None, Parameter(name=["--selector", "-s"], help="Only these: site=lyon,gpu.memory_mb>=8000")
    ] = None,
    output: Output = "table",
    connection: Connection = HERE,
) -> None:
    """The devices of the fleet."""
    empty = (
        "no device has joined yet; make an enrolment key with: kernex key create --auto-approve"
        if selector is None
        else f"no device matches {selector}; see all with: kernex device list"
    )
    with connection.open() as control:
        render.listing(control.devices(selector), output, COLUMNS, lambda device: device.device_id, empty=empty)


@app.command
def show(device: Named, /, *, output: Output = "table", connection: Connection = HERE) -> None:
    """One device: what it is, what runs on it, what it was asked to do."""
    with connection.open() as control:
        detail = control.device(_find(control, device))
    render.one(detail, output, _fields(detail), detail.device_id)
    if output == "table" and detail.assignments:
        columns: list[Column[DeviceAssignment]] = [
            Column("deployment", lambda one: one.deployment_id),
            Column("bundle", lambda one: one.bundle),
            Column("state", lambda one: render.state(one.state)),
            Column("when", lambda one: render.ago(one.updated_at)),
            Column("reason", lambda one: one.error_message or ""),
        ]
        render.out().print()
        render.out().print(render.table(columns, detail.assignments))


@app.command
def approve(device: Named, /, *, connection: Connection = HERE) -> None:
    """Let a device into the fleet. Compare its fingerprint with what the device itself says."""
    with connection.open() as control:
        found = _find(control, device)
        control.approve(found)
    render.say(f"{render.clean(found)} is in the fleet")


@app.command
def revoke(device: Named, /, *, connection: Connection = HERE) -> None:
    """Put a device out of the fleet for good: its key never joins again."""
    with connection.open() as control:
        found = _find(control, device)
        control.revoke(found)
    render.say(f"{render.clean(found)} is out of the fleet")


def _find(control: ControlPlane, text: str) -> str:
    """The id of the device whose id or fingerprint starts so."""
    if len(text) == prefixes.WHOLE:
        return text
    both = lambda device: (device.device_id, device.fingerprint)  # noqa: E731
    return prefixes.the_only("device", text, control.devices(), both).device_id


def _fields(device: DeviceDetail) -> list[tuple[str, object]]:
    fields: list[tuple[str, object]] = [
        ("Device", device.device_id),
        ("Admission", render.state(device.status)),
        ("Online", Text.assemble(_online(device), f", heard {render.ago(device.last_heartbeat)}")),
        ("Does", device.activity),
        ("Runs", _runs(device) or "nothing yet"),
        ("Labels", render.pairs(device.labels)),
        ("Type", device.device_type or ""),
        ("Agent", device.agent_version),
        ("Fingerprint", device.fingerprint),
        ("Joined", render.ago(device.registered_at)),
        ("Load", _load(device)),
    ]
    fields.extend((f"  {name}", value) for name, value in sorted(device.facts.items()))
    return [(title, value) for title, value in fields if value]


def _load(device: DeviceDetail) -> str:
    cpu = "" if device.cpu_pct is None else f"{device.cpu_pct:g} % CPU"
    memory = "" if device.memory_mb is None else f"{device.memory_mb:g} MB"
    return ", ".join(filter(None, (cpu, memory)))
