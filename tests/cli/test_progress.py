"""Progress of an upload: a bar on a terminal, a line every tenth on a pipe."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from kernex.cli import progress

SCRIPT = """
from pathlib import Path; import sys
from kernex.cli import progress
with progress.opened(Path(sys.argv[1]), "sending x") as file:
    while file.read(1000): pass
"""


def test_a_pipe_gets_a_line_every_tenth(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(2_000_000))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert [line.split(",")[0] for line in done.stderr.splitlines()] == [
        f"sending x {percent}% of 2.0 MB" for percent in range(10, 101, 10)
    ]


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(2_000_000))
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "x")],
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "sending x" in seen
    assert "━" in seen
    assert "\n10%" not in seen


def test_a_small_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123")
    with progress.opened(tmp_path / "x", "sending x") as file:
        assert file.read(2) + file.read() == b"123"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sending x 100% of 3 B")


def test_nothing_to_do_divides_by_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("packing nothing", 0) as advance:
        advance(0)
    assert capsys.readouterr().err.count("\n") <= 1


def test_what_is_read_is_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(300_000))
    with progress.opened(tmp_path / "x", "x") as file:
        copy = io.BytesIO()
        while piece := file.read(65_536):
            copy.write(piece)
    assert copy.getvalue() == (tmp_path / "x").read_bytes()
