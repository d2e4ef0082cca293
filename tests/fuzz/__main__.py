"""Look for bytes that break a promise: ``python -m tests.fuzz [SECONDS]``, shared out among the targets.

Starts from the kept corpus; what covers something new comes to lie in ``build/fuzz``, and so does a finding.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks._figures import Figure
from tests.figures import BUILD, record
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 8192  # bytes of an input
SLOWEST_S = 5
SECONDS = 60


def main(seconds: int) -> int:
    if find_spec("atheris") is None:
        print("cannot fuzz here: atheris comes for Linux on x86-64 alone; the kept corpus is part of make test")
        return 1
    figures = [_figure(target, seconds // len(TARGETS)) for target in TARGETS]
    record("crash", figures)
    return 0 if all(figure.met for figure in figures) else 1


def _figure(target: str, seconds: int) -> Figure:
    found = BUILD / "fuzz" / target
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOWEST_S}",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={found.parent}/{target}-",
    ]
    command = [sys.executable, "-m", "tests.fuzz.target", target, *options, str(found), str(CORPUS / target)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        executed = max(_executed(process), default=0)
    return Figure(
        name=f"fuzz: {target}",
        value=executed,
        unit=f"inputs in {seconds} s",
        target="0 findings",
        met=process.returncode == 0 and executed > 0,
    )


def _executed(process: "subprocess.Popen[str]") -> Iterator[int]:
    """How many so far, from what libFuzzer says while it runs, which is passed on."""
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if match := re.match(r"stat::number_of_executed_units:\s*(\d+)", line):
            yield int(match[1])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
