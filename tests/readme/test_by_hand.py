"""The README's second block, word for word, in a real shell."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.repository.tree import ROOT

PORT = "8440"  # of the README; a free one takes its place, for somebody may run a control plane on this machine


def by_hand() -> str:
    """What the README has one type."""
    section = (ROOT / "README.md").read_text().split("\n## The same by hand\n")[1]
    found = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_path_by_hand_works_word_for_word(tmp_path: Path) -> None:
    """In a directory that has what a checkout has after `make setup`: `.venv/bin` and `examples`."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    script = by_hand()
    assert PORT in script
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERNEX_")}
    with subprocess.Popen(
        ["bash", "-c", script.replace(PORT, str(free_port()))],
        cwd=tmp_path,
        env=environment | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            said, _ = shell.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    assert re.findall(r"^exit code (\d+)$", said, re.MULTILINE) == ["0", "6"], said
    assert re.search(r"pump==1\.0\.0", said.split("exit code 6")[1]), said
