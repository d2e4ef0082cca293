"""What may lie in the repository, and how it is written."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.repository.tree import ROOT, below, named, tracked

import kernex

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
BUILT = {".pyc", ".so", ".egg", ".whl", ".db", ".sqlite", ".onnx", ".tflite", ".safetensors", ".pt", ".key", ".pem"}
LONGEST = 400  # lines of a source file
LARGEST = 300_000  # bytes of any file; the speech clip of the demo is the largest


def test_no_weights_keys_databases_or_build_products_are_in_the_repository() -> None:
    assert [named(path) for path in tracked() if path.suffix in BUILT or "__pycache__" in path.parts] == []


def test_nothing_in_the_repository_is_large() -> None:
    assert [named(path) for path in tracked() if path.stat().st_size > LARGEST] == []


def test_no_private_key_hides_in_a_text() -> None:
    begin = "-----BEGIN " + "PRIVATE KEY-----"  # in two parts, or this file would hold it
    found = [named(path) for path in tracked() if begin.encode() in path.read_bytes()]
    assert found == []


def test_every_source_file_can_be_read_in_one_sitting() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in below("src")}
    assert len(lengths) > 20
    assert {name: length for name, length in lengths.items() if not 1 <= length <= LONGEST} == {}


def test_no_file_is_empty() -> None:
    assert [named(path) for path in tracked() if path.stat().st_size == 0] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_says_what_and_which_bytes_but_never_where_from(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"https?://|^\s*-(-|[a-z] )|@ |index|find-links", text.replace("--hash=", ""), re.MULTILINE)
    packages = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(packages) > 5
    for package in packages:
        assert re.match(r"[a-z0-9._-]+==\S+", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


def test_the_locks_hold_everything_that_is_declared() -> None:
    declared = {
        "base": PROJECT["project"]["dependencies"],
        "server": PROJECT["project"]["optional-dependencies"]["server"],
        "dev": [*PROJECT["project"]["optional-dependencies"]["demo"], *PROJECT["dependency-groups"]["dev"]],
    }
    assert {lock.stem for lock in LOCKS} == set(declared)
    locked: set[str] = set()
    for stem, requirements in declared.items():
        locked |= set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / f"requirements/{stem}.txt").read_text(), re.MULTILINE))
        names = {re.split(r"[\[<>=,]", one)[0].lower() for one in requirements} - {"kernex"}
        assert names <= locked, f"make lock: {names - locked}"


def test_the_version_is_said_once_and_the_changelog_knows_it() -> None:
    assert PROJECT["project"]["version"] == kernex.__version__
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == kernex.__version__


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_is_mocked() -> None:
    python = [*below("src"), *below("tests")]
    assert [named(path) for path in python if any("mock" in module.split(".") for module in imports(path))] == []
    patch = "monkeypatch" + ".setattr"
    assert [named(path) for path in python if patch in path.read_text()] == []


def test_no_file_is_named_after_nothing() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager|handlers?|services?|base)$")
    assert [named(path) for path in [*below("src"), *below("tests")] if vague.search(path.stem)] == []
    classes = re.compile(r"^class \w*(Manager|Handler|Service|Helper|Utils)\b", re.MULTILINE)
    assert [named(path) for path in below("src") if classes.search(path.read_text())] == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [
        named(path) for path in tracked() if path.suffix in {".py", ".md", ".toml"} and later.search(path.read_text())
    ] == []


def test_every_exception_that_is_ignored_in_typing_says_which_and_why() -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[[a-z-]+(, [a-z-]+)*\])")
    assert [named(path) for path in [*below("src"), *below("tests")] if bare.search(path.read_text())] == []


DOMAIN_ERRORS = {
    "RejectedError",
    "UnavailableError",
    "ConflictError",
    "NotFoundError",
    "DeniedError",
    "UnauthenticatedError",
}


def first_words(path: Path) -> Iterator[tuple[int, str]]:
    """The literal beginning of the message of every domain error that is made in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in DOMAIN_ERRORS
            and node.args
        ):
            message = node.args[0]
            if isinstance(message, ast.JoinedStr) and message.values:
                message = message.values[0]
            if isinstance(message, ast.Constant) and isinstance(message.value, str):
                yield node.lineno, message.value


def test_every_refusal_begins_with_cannot() -> None:
    words = {f"{named(path)}:{line}": text for path in below("src") for line, text in first_words(path)}
    assert len(words) > 20
    assert {place: text for place, text in words.items() if not text.startswith("cannot ")} == {}
