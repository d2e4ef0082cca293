"""What a newcomer meets first: help, mistakes, and a control plane that is not there."""

import json
import subprocess
import sys

import pytest
from tests.cli.command import kernex

import kernex as package

NOUNS = ["demo", "server", "key", "device", "bundle", "deploy", "deployment"]


def test_help_names_every_noun() -> None:
    ended = kernex("--help")
    assert ended.code == 0
    assert ended.err == ""
    for noun in NOUNS:
        assert f" {noun} " in ended.out


def test_help_is_quick_because_it_imports_no_noun_and_no_http() -> None:
    probe = (
        "import sys; from kernex.cli.main import main; main(['--help']);"
        "print(sorted(m for m in sys.modules if m == 'httpx2' or m.startswith('kernex.cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == str(
        ["kernex.cli.durations", "kernex.cli.exit_codes", "kernex.cli.main", "kernex.cli.render"]
    )


@pytest.mark.parametrize("noun", ["key", "device", "bundle", "deploy", "deployment", "demo"])
def test_each_noun_explains_itself(noun: str) -> None:
    ended = kernex(noun, "--help")
    assert ended.code == 0
    assert f"Usage: kernex {noun}" in ended.out


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_the_version_is_printed_alone(argv: list[str]) -> None:
    assert kernex(*argv).out.strip() == package.__version__


def test_the_server_explains_itself_in_its_own_words() -> None:
    ended = kernex("server", "--help")
    assert ended.code == 0
    assert "Usage: kernex server" in ended.out
    assert "token" in ended.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["devcie", "list"], 'Did you mean "device"?'),
        (["device", "lst"], 'Did you mean "list"?'),
        (["device", "list", "--selectr", "a=b"], "Did you mean --selector?"),
        (["device", "list", "-s", "site="], "cannot read the selector"),
        (["device", "list", "-o", "yaml"], '"table", "json", "jsonl", "name"'),
        (["device", "show"], "requires an argument"),
        (["key", "create", "--label", "site"], "write key=value, like site=lyon"),
        (["key", "create", "--expires", "24"], "write 90s, 30m, 24h or 7d"),
        (["key", "create", "--uses", "0"], "Must be >= 1"),
        (["deploy", "vad==1.0.0"], "--to"),
        (["deploy", "vad==1.0.0", "--to", ""], "write '*' for every device"),
        (["deploy", "vad==1.0.0", "--to", "*", "--waves", "1,50%"], "end with 100%"),
        (["deploy", "vad==1.0.0", "--to", "*", "--max-failures", "many"], "write 5 or 25%"),
        (["deploy", "vad=1.0.0", "--to", "*"], "name a bundle like vad==1.4.0, or a directory"),
        (["deploy", "VAD==1.0.0", "--to", "*"], "use lower-case letters"),
        (["deployment", "watch", "x", "--timeout", "soon"], "write 90s, 30m, 24h or 7d"),
    ],
)
def test_a_mistake_in_the_command_is_one_line_and_exit_code_2(argv: list[str], words: str) -> None:
    ended = kernex(*argv)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert words in ended.err


def test_a_control_plane_that_is_not_there_is_an_error_with_a_way_out() -> None:
    ended = kernex("device", "list")
    assert ended.code == 1
    assert ended.out == ""
    first, second = ended.err.splitlines()
    assert first.startswith("error: cannot reach the control plane at http://127.0.0.1:9")
    assert second.startswith("hint: ")
    assert "KERNEX_URL" in second


@pytest.mark.parametrize("where", [["-o", "json"], []])
def test_programs_get_errors_as_objects(where: list[str]) -> None:
    ended = kernex("device", "list", *where, KERNEX_OUTPUT="" if where else "jsonl")
    assert ended.code == 1
    problem = json.loads(ended.err)
    assert problem["exit_code"] == 1
    assert problem["detail"].startswith("cannot reach")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "nonsense", "http://[::1", "http://h\xf6st:port"])
def test_an_address_that_is_none_is_an_error_and_no_traceback(url: str) -> None:
    ended = kernex("device", "list", url=url)
    assert ended.code in (1, 5)
    assert ended.err.startswith("error: cannot ")


def test_colours_stay_out_of_pipes_and_where_nobody_wants_them() -> None:
    assert "\x1b" not in kernex("device", "list", NO_COLOR="1").err
    assert "\x1b" not in kernex("--help").out
