"""The rules that hold between the values of a manifest."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.errors import RejectedError
from kernex.domain.manifest import (
    MAX_SCRIPT_S,
    Deploy,
    Health,
    Manifest,
    Permission,
    Rollback,
    Run,
    Threshold,
    command_line,
)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("deploy.sh", ["deploy.sh"]),
        ("./deploy.sh", ["deploy.sh"]),
        ("bin/deploy.sh --mode fast", ["bin/deploy.sh", "--mode", "fast"]),
        ("deploy.sh 'two words' \"$HOME\"", ["deploy.sh", "two words", "$HOME"]),
        (
            "deploy.sh; rm -rf /",
            ["deploy.sh;", "rm", "-rf", "/"],
        ),  # no shell: a strange file name, not a second command
        ("deploy.sh ../elsewhere", ["deploy.sh", "../elsewhere"]),
    ],
)
def test_a_script_is_split_as_a_shell_would_and_never_run_by_one(script: str, words: list[str]) -> None:
    assert command_line(script) == words


@pytest.mark.parametrize(
    "script", ["", "   ", "''", ".", "./", "/bin/sh", "../up.sh", "a/../../up.sh", "'open", "a\0b"]
)
def test_a_script_is_a_file_inside_the_bundle_or_refused(script: str) -> None:
    for part in (command_line, Deploy, Health, Rollback):
        with pytest.raises(RejectedError, match=r"^cannot "):
            part(script)


@given(st.text())
def test_no_script_leaves_the_bundle(script: str) -> None:
    try:
        first = command_line(script)[0]
    except RejectedError:
        return
    assert not first.startswith("/")
    assert ".." not in first.split("/")
    assert first not in {"", "."}


@pytest.mark.parametrize("seconds", [0, -1, MAX_SCRIPT_S + 1, math.nan, math.inf])
def test_every_wait_has_an_end(seconds: float) -> None:
    for make in (
        lambda: Deploy("a", timeout_s=seconds),
        lambda: Rollback("a", timeout_s=seconds),
        lambda: Run(["a"], stop_timeout_s=seconds),
        lambda: Health("a", deadline_s=seconds),
        lambda: Health("a", interval_s=seconds),
        lambda: Health("a", timeout_s=seconds),
    ):
        with pytest.raises(RejectedError, match="it is in seconds, above 0 and at most 3600"):
            make()


@pytest.mark.parametrize("command", [[], [""], ["python3", ""], ["a\0b"]])
def test_a_run_command_is_a_list_of_words(command: list[str]) -> None:
    with pytest.raises(RejectedError, match=r"^cannot use run\.command"):
        Run(command)


@pytest.mark.parametrize(
    ("text", "holds", "does_not"),
    [
        (">=0.8", [0.8, 1], [0.79, math.nan]),
        ("<=20", [20, -1], [20.1, math.inf]),
        (">0", [1e-9], [0]),
        ("<5", [4.9], [5]),
        ("==1", [1], [0, 2, math.nan]),
        (" >= -1e3 ", [-1000], [-1001]),
    ],
)
def test_a_threshold_is_a_bound_that_no_nan_passes(text: str, holds: list[float], does_not: list[float]) -> None:
    threshold = Threshold.parse(text)
    assert all(map(threshold.holds, holds))
    assert not any(map(threshold.holds, does_not))


@pytest.mark.parametrize("text", ["", "0.8", ">=", "=>1", ">=high", "!=1", ">=1 <=2", ">=nan", ">=0x1"])
def test_what_is_no_threshold_is_refused_before_anything_is_deployed(text: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot read the threshold"):
        Health("probe.py", thresholds={"speech": text})


def test_broken_thresholds_say_what_was_measured_and_what_is_needed() -> None:
    health = Health("probe.py", thresholds={"speech": ">=0.8", "p95_ms": "<=20", "frames": ">0"})
    assert health.broken_thresholds({"speech": 0.9, "p95_ms": 3, "frames": 100}) == []
    assert health.broken_thresholds({"speech": 0, "p95_ms": 3}) == [
        "speech 0 (needs >=0.8)",
        "frames was not measured (needs >0)",
    ]


@pytest.mark.parametrize(("successes", "failures"), [(0, 1), (1, 0), (101, 1), (1, 101), (-1, 1)])
def test_a_probe_is_asked_a_sensible_number_of_times(successes: int, failures: int) -> None:
    with pytest.raises(RejectedError, match="outside 1 to 100"):
        Health("probe.py", successes=successes, failures=failures)


def test_only_the_version_is_required() -> None:
    manifest = Manifest("1.4.0")
    assert str(manifest.ref) == "default==1.4.0"
    assert manifest.scripts == []


@pytest.mark.parametrize("model", [None, "silero", 5, ["a"], {"name": "x", "weights": {"deep": [1]}}])
def test_a_model_of_any_shape_is_a_description(model: object) -> None:
    assert Manifest("1", model=model).model == model


@pytest.mark.parametrize(("name", "version"), [("../vad", "1"), ("vad", "../1"), ("vad", ""), ("", "1")])
def test_a_manifest_cannot_name_a_path(name: str, version: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot use"):
        Manifest(version, name=name)


def test_a_critical_field_that_is_not_known_refuses_the_bundle() -> None:
    assert Manifest("1", critical=["health", "requires"]).critical
    with pytest.raises(RejectedError, match="cannot obey the critical manifest field 'attestation'"):
        Manifest("1", critical=["health", "attestation"])


def test_a_manifest_asks_for_permissions_that_there_are() -> None:
    assert Manifest("1").asks_for == frozenset()
    assert Manifest("1", permissions=["network", "gpu", "network"]).asks_for == {Permission.NETWORK, Permission.GPU}
    with pytest.raises(RejectedError, match="cannot ask for the permission 'usb': there are network, gpu, privileged"):
        Manifest("1", permissions=["network", "usb"])


def test_the_scripts_of_a_manifest_are_the_files_that_it_runs_by_name() -> None:
    manifest = Manifest(
        "1",
        deploy=Deploy("./up.sh --now"),
        run=Run(["python3", "serve.py"]),
        health=Health("probe.py"),
        rollback=Rollback("down.sh"),
    )
    assert manifest.scripts == ["up.sh", "probe.py", "down.sh"]
