"""Every command that a page shows is one that the programs have."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

from tests.repository.tree import PAGES, ROOT, blocks, named

PROGRAMS = {"kernex": "kernex.cli", "kernex-agent": "kernex.agent"}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every call of our programs in a code block of a page, as words."""
    for page in PAGES:
        for line in (line for block in blocks(page, "sh") for line in block.splitlines()):
            split = shlex.shlex(line.replace('"$(', " ; ").replace(')"', " ; "), posix=True, punctuation_chars=True)
            split.whitespace_split = True
            call: list[str] = []
            for word in [*split, ";"]:
                if not word or set(word) - set("();<>|&"):
                    call.append(word)
                    continue
                call = call[1:] if call[:1] == ["until"] else call
                if call and call[0] in PROGRAMS:
                    yield named(page), call
                call = []


@cache
def help_of(*words: str) -> str:
    """What a command says of itself; empty if there is no such command."""
    asked = [sys.executable, "-m", PROGRAMS[words[0]], *words[1:], "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env={"COLUMNS": "200"}, cwd=ROOT)
    return done.stdout if done.returncode == 0 else ""


def test_every_command_that_is_shown_exists_with_its_options() -> None:
    shown = list(commands())
    assert len(shown) > 10
    for page, words in shown:
        verbs: list[str] = []
        for word in words:
            if not re.fullmatch(r"[a-z][a-z-]*", word) or (verbs and not re.search(rf"\b{word}\b", help_of(*verbs))):
                break
            verbs.append(word)
        text = help_of(*verbs)
        assert text, f"{page}: there is no command {' '.join(verbs)}"
        assert "─ Commands ─" not in text, f"{page}: {' '.join(words[: len(verbs) + 1])} is no command"
        for option in (word.split("=")[0] for word in words if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"{page}: {' '.join(verbs)} has no {option}"
