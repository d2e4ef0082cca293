"""The command ``kernex``: finds the noun, runs the verb, and turns its end into an exit code."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from kernex import __version__
from kernex.cli import render
from kernex.cli.exit_codes import ExitCode, code_of
from kernex.domain.errors import KernexError

#: Each noun is imported when it is used: ``kernex --help`` loads none of them.
NOUNS = {
    "demo": "See it all happen on this machine: a control plane, 8 devices, a bad model put back.",
    "server": "Run the control plane and make its first tokens.",
    "key": "Enrolment keys, with which devices join the fleet.",
    "device": "The machines of the fleet.",
    "bundle": "What is carried to devices: a model, its code, its health check.",
    "deploy": "Deploy a bundle to all devices that a selector picks.",
    "deployment": "Which devices shall run what, and how far they are.",
}


def make_app() -> App:
    """The tree of commands."""
    app = App(
        name="kernex",
        version=__version__,
        help="Carries AI models to fleets of edge devices, and puts the old one back when the new one does not work.",
        help_format="plaintext",
    )
    for sort_key, (noun, words) in enumerate(NOUNS.items()):
        app.command(f"kernex.cli.{noun}:app", name=noun, help=words, sort_key=sort_key)
    app.command(lambda: print(__version__), name="version", help="Print the version.", sort_key=len(NOUNS))
    app.register_install_completion_command()
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, without the program's name, and return its exit code."""
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough. What the interpreter still flushes goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK


def _run(argv: Sequence[str]) -> int:
    try:
        command, bound, _ = make_app().parse_args(
            argv,
            exit_on_error=False,
            error_console=render.err(),
            error_formatter=lambda error: render.mistake(str(error)),
        )
    except CycloptsError:
        return ExitCode.USAGE
    try:
        return int(command(*bound.args, **bound.kwargs) or ExitCode.OK)
    except KernexError as error:
        render.problem(error, bound.arguments.get("output", "table"))
        return code_of(error)
