"""The promise of v1: what was once sent is read for ever, and written as it was.

A golden file is only ever added to. A red test here means that devices in the field would stop understanding.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernex.wire import device, operator, problem

GOLDEN = Path(__file__).parent / "golden" / "v1"
#: Generic messages are read with what they carry in practice.
CONCRETE: dict[str, Any] = {"page": operator.Page[operator.DeviceSummary]}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


MESSAGES: dict[str, type[msgspec.Struct]] = {
    snake(name): kind
    for module in (device, operator, problem)
    for name, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
}
every_message = pytest.mark.parametrize("name", sorted(MESSAGES))


def golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_bytes())
    return content


def read(name: str, content: object) -> Any:
    return msgspec.json.decode(json.dumps(content), type=CONCRETE.get(name, MESSAGES[name]))


def test_every_message_has_a_golden_file_and_every_file_a_message() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MESSAGES)


@every_message
def test_a_golden_message_is_read_and_written_unchanged(name: str) -> None:
    assert json.loads(msgspec.json.encode(read(name, golden(name)))) == golden(name)


@every_message
def test_a_golden_message_shows_every_field(name: str) -> None:
    shown = set(golden(name))
    # A default is left out when it is written, so only a value beside the default proves the field's form.
    assert {field.encode_name for field in msgspec.structs.fields(MESSAGES[name])} - shown <= {"type"}


@every_message
def test_a_message_of_a_newer_version_is_read_unless_it_is_an_operators_request(name: str) -> None:
    newer = golden(name) | {"field_of_a_later_version": {"a": [1]}}
    if name.endswith("_request"):
        with pytest.raises(msgspec.ValidationError, match="unknown field `field_of_a_later_version`"):
            read(name, newer)
    else:
        assert read(name, newer) == read(name, golden(name))


@every_message
def test_required_fields_stay_required(name: str) -> None:
    for field in msgspec.structs.fields(MESSAGES[name]):
        without = {key: value for key, value in golden(name).items() if key != field.encode_name}
        if field.required:
            with pytest.raises(msgspec.ValidationError, match=f"missing required field `{field.encode_name}`"):
                read(name, without)
        else:
            read(name, without)
