"""The repository as these tests see it: what git tracks, or would."""

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = frozenset({".git", ".venv", "build", "dist", "__pycache__"})


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is in git or about to be; where there is no git, every file that is not ignored."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if (ROOT / ".git").exists():
        names = subprocess.run(listing, capture_output=True, check=True, text=True).stdout.split("\0")
        return tuple(path for name in sorted(filter(None, names)) if (path := ROOT / name).is_file())
    everything = (path for path in sorted(ROOT.rglob("*")) if path.is_file())
    return tuple(path for path in everything if not any(is_ignored(part) for part in path.relative_to(ROOT).parts))


def is_ignored(name: str) -> bool:
    return name in IGNORED or name.endswith("_cache") or name == ".hypothesis"


def named(path: Path) -> str:
    """How a failing test calls a file."""
    return str(path.relative_to(ROOT))


def below(directory: str, suffix: str = ".py") -> list[Path]:
    return [path for path in tracked() if path.is_relative_to(ROOT / directory) and path.suffix == suffix]


PAGES = [path for path in tracked() if path.suffix == ".md"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
