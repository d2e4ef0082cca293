"""Write the pages that follow from the code: ``make docs``. A test fails when one is out of date.

docs/states.md    the diagrams and meanings of every state machine, from its table and its comments
docs/glossary.md  the words of `kernex.domain`
"""

import inspect
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from kernex import domain
from kernex.domain import assignment, deployment, device, install

DOCS = Path(__file__).resolve().parent.parent / "docs"
GENERATED = "<!-- Written by scripts/write_docs.py from the code. Change the code, then: make docs -->\n"

MACHINES: list[tuple[str, str, type[StrEnum], Mapping[Any, Mapping[Any, Any]]]] = [
    ("Assignment", "kernex/domain/assignment.py", assignment.State, assignment.NEXT),
    ("Install", "kernex/domain/install.py", install.Phase, install.NEXT),
    ("Deployment", "kernex/domain/deployment.py", deployment.State, deployment.NEXT),
    ("Device", "kernex/domain/device.py", device.State, device.NEXT),
]

STATES_HEAD = """# State machines

Each is one table, `NEXT[state][event]`, in one file. Nobody else assigns a state. A missing cell is a conflict
(`IllegalTransition`), and so is an event that comes too late. A cell that points to its own row is a repeat that does
no harm; the diagrams leave those out, the tables below them do not.
"""


def states() -> str:
    """docs/states.md."""
    parts = [GENERATED, STATES_HEAD]
    for title, path, kind, table in MACHINES:
        parts.append(f"## {title}\n\n`src/{path}`\n\n{diagram(kind, table)}\n{meanings(kind, table)}")
    return "\n".join(parts)


def diagram(kind: type[StrEnum], table: Mapping[Any, Mapping[Any, Any]]) -> str:
    """A table as mermaid text; GitHub and most editors draw it."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(kind)).value}"]
    for state, row in table.items():
        arrows: dict[str, list[str]] = {}
        for event, following in row.items():
            if following is not state:
                arrows.setdefault(following.value, []).append(event.value)
        lines.extend(f"    {state.value} --> {target}: {', '.join(events)}" for target, events in arrows.items())
        if not arrows:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join([*lines, "```", ""])


def meanings(kind: type[StrEnum], table: Mapping[Any, Mapping[Any, Any]]) -> str:
    """What each state means, in the words of the comment beside it, and which repeats it takes."""
    said = dict(re.findall(r'^    \w+ = "(\w+)"  #: (.+)$', inspect.getsource(kind), re.MULTILINE))
    lines = ["| state | meaning | harmless repeats |", "|---|---|---|"]
    for state, row in table.items():
        repeats = ", ".join(event.value for event, following in row.items() if following is state)
        lines.append(f"| `{state.value}` | {said[state.value]} | {repeats} |")
    return "\n".join([*lines, ""])


def glossary() -> str:
    """docs/glossary.md."""
    lines = [GENERATED, "# Glossary\n", "One word, one meaning. The source is the docstring of `kernex.domain`.\n"]
    lines.extend(["| word | meaning |", "|---|---|"])
    lines.extend(f"| **{word}** | {_markdown(meaning)} |" for word, meaning in words().items())
    lines.append("\n*Online*, *overdue*, *progress* and all tallies are derived by query, never stored.\n")
    return "\n".join(lines)


def words() -> dict[str, str]:
    """The nouns of the domain with their meanings, as its docstring lists them."""
    entries = re.findall(r"^([A-Z]\w+)  +(\S.*(?:\n {4,}.*)*)", inspect.getdoc(domain) or "", re.MULTILINE)
    return {word: " ".join(meaning.split()) for word, meaning in entries}


def _markdown(text: str) -> str:
    return text.replace("``", "`")


PAGES = {"states.md": states, "glossary.md": glossary}

if __name__ == "__main__":
    for name, write in PAGES.items():
        DOCS.joinpath(name).write_text(write(), encoding="utf-8")
