"""``kernex bundle``: what is carried to devices."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from kernex.bundle.descriptor import FileEntry
from kernex.cli import prefixes, publish, render
from kernex.cli.client import ControlPlane
from kernex.cli.options import HERE, Connection, Output
from kernex.cli.render import Column
from kernex.domain.bundle import BundleRef
from kernex.domain.errors import NotFoundError
from kernex.wire.operator import BundleSummary

app = App(name="bundle", help="What is carried to devices: a model, its code, its health check.")

COLUMNS: list[Column[BundleSummary]] = [
    Column("bundle", lambda one: f"{one.name}=={one.version}"),
    Column("model", lambda one: one.model_name or ""),
    Column("size", lambda one: render.size(one.size_bytes)),
    Column("pushed", lambda one: render.ago(one.created_at)),
    Column("digest", lambda one: one.digest[:12]),
    Column("id", lambda one: one.bundle_id),
]


@app.command
def build(
    directory: Annotated[Path, Parameter(help="Where manifest.json lies.")],
    /,
    *,
    to: Annotated[Path, Parameter(name=["--output", "-o"], help="The file to write, like vad.tar.zst.")],
) -> None:
    """Pack a directory with a manifest.json as a bundle. The same files always give the same bytes."""
    built = publish.build(directory, to)
    digest = built.descriptor.digest.short
    size = render.size(built.archive_bytes)
    render.say(f"{built.manifest.ref}: {len(built.descriptor.files)} files, {size}, digest {digest}")
    if built.ignored:
        render.say(f"left out: {', '.join(built.ignored)}")
    print(render.clean(to))


@app.command
def push(
    path: Annotated[Path, Parameter(help="What kernex bundle build wrote, or a directory with a manifest.json.")],
    /,
    *,
    output: Output = "table",
    connection: Connection = HERE,
) -> None:
    """Send a bundle to the control plane. A directory is built first. Pushing the same again is harmless."""
    with connection.open() as control:
        pushed = publish.push(control, path)
    ref = f"{pushed.name}=={pushed.version}"
    if output in ("json", "jsonl"):
        render.data(pushed, output)
        return
    print(render.clean(ref))
    render.say(f"deploy it with: kernex deploy {render.clean(ref)} --to '*' --watch")


@app.command(name="list")
def list_(*, output: Output = "table", connection: Connection = HERE) -> None:
    """The bundles that the control plane holds."""
    with connection.open() as control:
        render.listing(
            control.bundles(),
            output,
            COLUMNS,
            lambda one: f"{one.name}=={one.version}",
            empty="no bundles yet; send one with: kernex bundle push DIR",
        )


@app.command
def show(
    bundle: Annotated[str, Parameter(help="NAME==VERSION, or the start of its id.")],
    /,
    *,
    output: Output = "table",
    connection: Connection = HERE,
) -> None:
    """One bundle: its manifest and its files."""
    with connection.open() as control:
        found = find(control, bundle)
        descriptor = control.descriptor(found)
    if output != "table":
        both = {"bundle": found, "descriptor": msgspec.json.decode(descriptor.encode())}
        render.one(both, output, [], f"{found.name}=={found.version}")
        return
    fields: list[tuple[str, object]] = [(column.title.capitalize(), column.cell(found)) for column in COLUMNS]
    fields[-2] = ("Digest", found.digest)
    render.one(found, output, fields, found.bundle_id)
    render.out().print()
    render.out().print(render.document(found.manifest))
    render.out().print()
    columns: list[Column[FileEntry]] = [
        Column("file", lambda file: file.path),
        Column("size", lambda file: render.size(file.size)),
        Column("sha-256", lambda file: file.sha256.short),
    ]
    render.out().print(render.table(columns, descriptor.files))


def find(control: ControlPlane, text: str) -> BundleSummary:
    """The bundle that people call NAME==VERSION, or by the start of its id."""
    if "==" not in text:
        return prefixes.the_only("bundle", text, control.bundles(), lambda one: (one.bundle_id,))
    ref = BundleRef.parse(text)
    for one in control.bundles(ref):
        if (one.name, one.version) == (ref.name, ref.version):
            return one
    missing = NotFoundError(f"cannot find the bundle {ref}: it was not pushed")
    missing.add_note("see what there is: kernex bundle list")
    raise missing
