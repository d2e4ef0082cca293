"""The command as people run it: a process with arguments, an environment and two pipes."""

import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str


def environment(url: str = "http://127.0.0.1:9", token: str = "", **more: str) -> dict[str, str]:
    """This one, without what its owner has set for ``kernex``. Port 9 discards: nothing answers there."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("KERNEX_")}
    return {**mine, "KERNEX_URL": url, "KERNEX_TOKEN": token, "COLUMNS": "100", **more}


def kernex(*argv: str, url: str = "http://127.0.0.1:9", token: str = "", **more: str) -> Ended:
    """Run it to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "kernex.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(url, token, **more),
    )
    return Ended(done.returncode, done.stdout, done.stderr)
