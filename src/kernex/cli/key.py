"""``kernex key``: enrolment keys, with which devices join the fleet."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from kernex.cli import durations, render
from kernex.cli.options import HERE, Connection, Output, Span, checked
from kernex.cli.render import Column
from kernex.domain.errors import RejectedError
from kernex.wire.operator import EnrolmentKeyRequest, EnrolmentKeySummary

app = App(name="key", help="Enrolment keys, with which devices join the fleet.")


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator and value):
        raise RejectedError(f"cannot read {text[:80]!r} as a label: write key=value, like site=lyon")
    return key, value


MAX_USES = 1_000_000
Labels = Annotated[
    list[str] | None,
    Parameter(
        negative=(), validator=checked(_label), help="key=value for every device that joins with it; may be repeated."
    ),
]


@app.command
def create(
    *,
    label: Labels = None,
    uses: Annotated[
        int, Parameter(validator=Number(gte=1, lte=MAX_USES), help="How many devices may join with it.")
    ] = 1,
    expires: Annotated[Span, Parameter(help="How long it is good: 90s, 30m, 24h, 7d.")] = "24h",
    auto_approve: Annotated[bool, Parameter(negative=(), help="Take them in at once, without device approve.")] = False,
    output: Output = "table",
    connection: Connection = HERE,
) -> None:
    """Make an enrolment key and print it. It is shown this once: the control plane keeps only its hash."""
    request = EnrolmentKeyRequest(
        labels=dict(map(_label, label or [])), uses=uses, expires_s=durations.parse(expires), auto_approve=auto_approve
    )
    with connection.open() as control:
        made = control.create_key(request)
        url = control.url
    if output in ("json", "jsonl"):
        render.data(made, output)
        return
    print(render.clean(made.key))
    devices = "1 device" if uses == 1 else f"{uses} devices"
    render.say(f"good for {devices}, ends {render.ahead(made.expires_at)}; on the device run:")
    render.say(f"  kernex-agent enroll {url} --key {render.clean(made.key)}")
    if not auto_approve:
        render.say("then let it in: kernex device list, kernex device approve ID")


@app.command(name="list")
def list_(*, output: Output = "table", connection: Connection = HERE) -> None:
    """Enrolment keys that are still good for something. The keys themselves are not shown again."""
    columns: list[Column[EnrolmentKeySummary]] = [
        Column("key", lambda key: key.key_id),
        Column("labels", lambda key: render.pairs(key.labels)),
        Column("uses left", lambda key: key.uses_left),
        Column("ends", lambda key: render.ahead(key.expires_at)),
        Column("auto-approve", lambda key: "yes" if key.auto_approve else "no"),
        Column("by", lambda key: key.created_by),
    ]
    with connection.open() as control:
        render.listing(
            control.keys(),
            output,
            columns,
            lambda key: key.key_id,
            empty="no enrolment keys; make one with: kernex key create --label site=lyon --auto-approve",
        )
