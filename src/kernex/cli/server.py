"""``kernex server …``: handed over, word for word, to the control plane's own command line.

The CLI and the server never import each other: an operator's laptop needs no database driver.
"""

import os
import sys
from importlib.util import find_spec
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from kernex.domain.errors import RejectedError

app = App(name="server", help_flags=(), version_flags=())


@app.default
def server(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> NoReturn:
    """Run the control plane and make its first tokens (kernex server --help)."""
    if find_spec("litestar") is None:
        missing = RejectedError("cannot run the control plane: only the agent and the CLI are installed")
        missing.add_note("pip install 'kernex[server]'")
        raise missing
    os.execv(sys.executable, [sys.executable, "-m", "kernex.server", *words])  # noqa: S606 - no shell is wanted
