"""The documents: links lead somewhere, examples work, what is generated is current."""

import json
import re
from pathlib import Path

import pytest
from scripts import write_docs
from tests.repository.tree import PAGES, ROOT, below, blocks, named

from kernex.bundle import manifest as manifests
from kernex.domain.role import GRANTS
from kernex.wire import paths

ADRS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
every_page = pytest.mark.parametrize("page", PAGES, ids=named)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@every_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    for name in re.findall(r"`((?:src|tests|docs|examples|scripts)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists(), name


@every_page
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    written = "\n".join(path.read_text() for path in below("tests"))
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert f"def {name}(" in written, name


@pytest.mark.parametrize("name", sorted(write_docs.PAGES))
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == write_docs.PAGES[name](), "run make docs"


def test_the_glossary_has_a_meaning_for_every_word_that_the_design_rests_on() -> None:
    assert {"Device", "Selector", "Bundle", "Manifest", "Deployment", "Assignment", "Install"} <= set(
        write_docs.words()
    )


def test_every_manifest_that_is_shown_is_one() -> None:
    shown = [
        block for page in PAGES for block in blocks(page, "json") if '"version"' in block and '"files"' not in block
    ]
    assert shown
    for block in shown:
        assert manifests.read(block.encode()).version == json.loads(block)["version"]


def test_decisions_are_numbered_without_gaps_short_and_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))
    for number, path in enumerate(ADRS, 1):
        text = path.read_text()
        assert text.startswith(f"# {number}. ")
        assert path.name in listed
        assert len(text.splitlines()) <= 40, f"{path.name} is longer than a page"
        for part in ("Problem", "Options", "Choice", "Cost"):
            assert f"**{part}.**" in text, f"{path.name} says no {part.lower()}"


def test_the_protocol_names_every_path_and_role() -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    for path in (value for name, value in vars(paths).items() if name.isupper() and name != "API"):
        assert path in text or f"…/{path.rsplit('/', 1)[1]}" in text, path
    for role, granted in GRANTS.items():
        row = re.search(rf"^\| {role} \| (.+) \|$", text, re.MULTILINE)
        assert row, role
        assert role == "admin" or set(row[1].split(", ")) == {str(permission) for permission in granted}


def test_the_make_targets_that_are_named_are_there() -> None:
    targets = set(re.findall(r"^([a-z%-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for command in [*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", page.read_text())]:
            for target in re.findall(r"^make ([a-z-]+)", command, re.MULTILINE):
                assert target in targets or target.startswith("bench-"), f"{named(page)}: make {target}"
