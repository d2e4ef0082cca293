"""``manifest.json`` by anybody."""

import json
import time

import pytest

from kernex.bundle.manifest import read
from kernex.domain.errors import RejectedError


def test_only_a_version_is_needed() -> None:
    manifest = read(b'{"version": "1.0.0"}')
    assert (manifest.name, manifest.version, manifest.scripts) == ("default", "1.0.0", [])


def test_everything_that_a_manifest_may_say_is_read() -> None:
    manifest = read(
        b"""{ "name": "vad", "version": "1.4.0", "description": "\xc3\xa9",
          "model":   {"name": "silero-vad", "format": "onnx", "path": "model.onnx", "size_mb": 2.3},
          "requires": {"arch": "x86_64|aarch64", "gpu.memory_mb": ">=4000", "agent": ">=0.1"},
          "deploy":   {"script": "deploy.sh --now", "timeout_s": 300},
          "run":      {"command": ["python3", "serve.py"], "restart": "always"},
          "health":   {"script": "probe.py", "deadline_s": 60, "successes": 2, "thresholds": {"speech": ">=0.8"}},
          "rollback": {"script": "rollback.sh"}, "critical": ["health"] }"""
    )
    assert manifest.scripts == ["deploy.sh", "probe.py", "rollback.sh"]
    assert manifest.health is not None
    assert manifest.health.thresholds == {"speech": ">=0.8"}
    assert manifest.run is not None
    assert manifest.run.command == ["python3", "serve.py"]


@pytest.mark.parametrize("model", ["null", "true", "7", "-1.5e-3", '"silero"', "[]", "[[1], {}]", '{"a": {"b": [1]}}'])
def test_a_model_of_any_shape_is_accepted(model: str) -> None:
    assert read(b'{"version": "1", "model": %s}' % model.encode()).model == json.loads(model)


def test_fields_that_nobody_knows_yet_are_ignored() -> None:
    assert read(b'{"version": "1", "from-the-future": {"a": 1}, "deploy": {"script": "a", "nice": 3}}').deploy


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"version: 1", "not JSON"),
        (b'{"version": "1"', "not JSON"),
        (b'{"version": "1"} {}', "not JSON"),
        (b'{"version": "1",}', "not JSON"),
        (b"{'version': '1'}", "not JSON"),
        (b'\xef\xbb\xbf{"version": "1"}', "not JSON"),
        (b'{"version": "\xff"}', r"not UTF-8 \(byte 13\)"),
        ('{"version": "1"}'.encode("utf-16"), "not UTF-8"),
        (b'{"version": "1", "model": "\\ud800"}', "not JSON"),
        (b'{"version": "1", "model": NaN}', "not JSON"),
        (b'{"version": "1", "model": Infinity}', "not JSON"),
        (b'{"version": "1", "model": -Infinity}', "not JSON"),
        (b'{"version": "1", "model": 1e999}', "not JSON"),
        (b'{"version": "1", "model": 9223372036854775808}', "too large"),
        (b'{"version": "1", "model": -9223372036854775809}', "too large"),
        (b'{"version": "1", "model": %s}' % (b"9" * 100_000), "out of range"),
        (b'{"version": "1", "version": "2"}', "'version' twice"),
        (b'{"version": "1", "model": [{"a": 1, "\\u0061": 2}]}', "'a' twice"),
        (b'["version"]', "not an object"),
        (b'"version"', "not an object"),
        (b"null", "not an object"),
        (b"{}", "missing required field `version`"),
        (b'{"version": 1}', r"Expected `str`, got `int` - at `\$.version`"),
        (b'{"version": null}', r"\$.version"),
        (b'{"version": "1", "name": ["vad"]}', r"\$.name"),
        (b'{"version": "1", "deploy": "deploy.sh"}', r"\$.deploy"),
        (b'{"version": "1", "deploy": {}}', r"missing required field `script` - at `\$.deploy`"),
        (b'{"version": "1", "deploy": {"script": "a", "timeout_s": "9"}}', r"\$.deploy.timeout_s"),
        (b'{"version": "1", "run": {"command": "serve.py"}}', r"\$.run.command"),
        (b'{"version": "1", "run": {"command": ["a", 1]}}', r"\$.run.command\[1\]"),
        (b'{"version": "1", "run": {"command": ["a"], "restart": "often"}}', r"\$.run.restart"),
        (b'{"version": "1", "health": {"script": "a", "thresholds": [1]}}', r"\$.health.thresholds"),
        (b'{"version": "1", "health": {"script": "a", "thresholds": {"a": 1}}}', r"\$.health.thresholds\[...\]"),
        (b'{"version": "1", "health": {"script": "a", "thresholds": {"a": "~1"}}}', "cannot read the threshold '~1'"),
        (b'{"version": "1", "deploy": {"script": "../a"}}', "cannot run '../a'"),
        (b'{"version": "1", "deploy": {"script": "a", "timeout_s": 1e9}}', "cannot use deploy.timeout_s"),
        (b'{"version": "../1"}', "as a version"),
        (b'{"version": "1", "name": "A/B"}', "as a bundle name"),
        (b'{"version": "1", "critical": ["quantum"]}', "critical manifest field 'quantum'"),
    ],
)
def test_a_manifest_that_cannot_be_obeyed_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(RejectedError, match=words) as refusal:
        read(data)
    assert str(refusal.value).startswith("cannot ")


def nested(depth: int, opening: str, closing: str) -> bytes:
    return f'{{"version": "1", "model": {opening * (depth - 1)}1{closing * (depth - 1)}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_sixteen_levels_are_the_deepest(opening: str, closing: str) -> None:
    read(nested(16, opening, closing))
    for depth in (17, 1000, 100_000):
        with pytest.raises(RejectedError, match="nested deeper than 16"):
            read(nested(depth, opening, closing))


def test_brackets_in_strings_are_no_depth() -> None:
    assert read(b'{"version": "1", "model": "%s\\"[[[[[["}' % (b"[" * 1000)).model


def test_a_mebibyte_is_the_largest() -> None:
    frame = len(b'{"version": "1", "model": ""}')
    read(b'{"version": "1", "model": "%s"}' % (b"x" * (2**20 - frame)))
    with pytest.raises(RejectedError, match="larger than 1048576 bytes"):
        read(b'{"version": "1", "model": "%s"}' % (b"x" * (2**20 - frame + 1)))


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"[", b"\\", b'"\\', b"{}", b'{"":'])
def test_no_text_takes_long_to_refuse(piece: bytes) -> None:
    data = (piece * 2**20)[: 2**20]
    started = time.process_time()
    with pytest.raises(RejectedError):
        read(data)
    assert time.process_time() - started < 5, "seconds: linear takes a tenth of one, quadratic an hour"
