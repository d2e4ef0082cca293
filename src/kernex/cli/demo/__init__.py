"""``kernex demo``: a control plane and 8 devices on this machine, a good model, a bad one, a good one again.

Nothing in it is acted: real processes, real HTTP, a real model. What it says at the end it read back.
"""

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from kernex import __version__
from kernex.cli import durations
from kernex.cli.demo import story
from kernex.cli.demo.models import cached
from kernex.cli.demo.stage import Stage
from kernex.domain.errors import RejectedError

app = App(name="demo")

NEEDED = ("litestar", "onnxruntime", "numpy")


@app.default
def demo(
    *,
    once: Annotated[bool, Parameter(negative=(), help="End when the story is told, not at Ctrl-C.")] = False,
    data_dir: Annotated[
        Path | None, Parameter(show_default=False, help="Keep everything here, not in a temporary directory.")
    ] = None,
) -> None:
    """See it all happen on this machine: a control plane, 8 devices, and a bad model that is put back."""
    _check_installed()
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        root = _root(stack, data_dir)
        story.say(Text.assemble((f"kernex {__version__}", "bold"), f"  everything lies below {root}"))
        models = {version: cached(version) for version in story.MODELS}
        story.say(Text(f"✔ models         Silero VAD {' and '.join(models)}"))
        stage = stack.enter_context(Stage(root))
        story.open_on(stage)
        told = story.tell(stage, models)
        told.say(stage, seconds=time.monotonic() - started)
        if not once:
            story.invite(stage)
            _wait_for_interrupt()
        story.say("stopping everything")
    story.say(f"stopped after {durations.say(time.monotonic() - started)}; nothing is left running")


def _check_installed() -> None:
    for module in NEEDED:
        if find_spec(module) is None:
            missing = RejectedError(f"cannot run the demo: {module} is not installed")
            missing.add_note("pip install 'kernex[demo]'")
            raise missing


def _root(stack: ExitStack, data_dir: Path | None) -> Path:
    if data_dir is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kernex-demo-")))
    if data_dir.exists() and any(data_dir.iterdir()):
        raise RejectedError(f"cannot start the demo in {data_dir}: it is not empty")
    data_dir.mkdir(parents=True, exist_ok=True)
    return data_dir.resolve()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Being told to end, in whatever way, unwinds as Ctrl-C does: through everything that cleans up."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
