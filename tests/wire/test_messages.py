"""The wire under strangers: caps on what comes in, patience with what is not known."""

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.install import Phase
from kernex.wire import limits, paths
from kernex.wire.device import (
    Cancel,
    Deploy,
    Heartbeat,
    HeartbeatReply,
    InstallReport,
    ReceivedReply,
    Registration,
    Result,
    Unknown,
    read_command,
)
from kernex.wire.operator import EnrolmentKeyRequest

ID = "d" * 64
DEPLOY = Deploy("d1", "b1", "vad", "1.0.0", "a" * 64, "b" * 64, 1)


def read(kind: type[Any], content: dict[str, Any]) -> Any:
    return msgspec.json.decode(json.dumps(content), type=kind)


@pytest.mark.parametrize(
    ("kind", "fits", "field", "too_much"),
    [
        (Registration, {"public_key": "k"}, "public_key", ""),
        (Registration, {"public_key": "k"}, "public_key", "k" * (limits.PUBLIC_KEY_CHARACTERS + 1)),
        (Registration, {"public_key": "k"}, "proof", "p" * (limits.PROOF_CHARACTERS + 1)),
        (Registration, {"public_key": "k"}, "enrolment_key", "e" * 257),
        (Registration, {"public_key": "k"}, "device_type", "t" * 129),
        (Heartbeat, {}, "agent_version", "1" * 65),
        (Heartbeat, {}, "status", "s" * 33),
        (Heartbeat, {}, "apps", [{"name": "a", "version": "1", "digest": "d"}] * 257),
        (Heartbeat, {}, "installs", [{"deployment_id": "d", "phase": "failed"}] * 65),
        (Heartbeat, {}, "unknown_commands", ["x"] * 17),
        (Heartbeat, {}, "unknown_commands", ["x" * (limits.VERB_CHARACTERS + 1)]),
        (InstallReport, {"deployment_id": ID, "phase": "failed"}, "deployment_id", "d" * 65),
        (InstallReport, {"deployment_id": ID, "phase": "failed"}, "error", "e" * (4 * limits.ERROR_CHARACTERS + 1)),
        (
            InstallReport,
            {"deployment_id": ID, "phase": "failed"},
            "metrics",
            {str(i): i for i in range(limits.METRICS + 1)},
        ),
        (InstallReport, {"deployment_id": ID, "phase": "failed"}, "metrics", {"m" * 129: 1.0}),
        (InstallReport, {"deployment_id": ID, "phase": "failed"}, "metrics", {"m": "high"}),
        (InstallReport, {"deployment_id": ID, "phase": "failed"}, "phase", "exploding"),
        (Result, {"device_id": ID, "status": "failed"}, "error_message", "e" * (4 * limits.ERROR_CHARACTERS + 1)),
        (EnrolmentKeyRequest, {}, "uses", 0),
        (EnrolmentKeyRequest, {}, "uses", 1_000_001),
        (EnrolmentKeyRequest, {}, "expires_s", 0),
        (EnrolmentKeyRequest, {}, "expires_s", 366 * 86400 + 1),
        (EnrolmentKeyRequest, {}, "labels", {"k" * 64: "v"}),
        (EnrolmentKeyRequest, {}, "labels", {"k": "v" * 256}),
    ],
)
def test_more_than_fits_is_refused_by_name(kind: type[Any], fits: dict[str, Any], field: str, too_much: object) -> None:
    read(kind, fits)
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}"):
        read(kind, fits | {field: too_much})


@pytest.mark.parametrize("command", [DEPLOY, Cancel("d1")])
def test_a_command_is_read_as_it_was_sent(command: Deploy | Cancel) -> None:
    reply = msgspec.json.decode(msgspec.json.encode(HeartbeatReply([command], 60.0)), type=ReceivedReply)
    assert [read_command(raw) for raw in reply.commands] == [command]


@pytest.mark.parametrize(
    ("raw", "verb"),
    [
        ('{"type": "reboot", "when": "now"}', "reboot"),
        ('{"type": "deploy", "deployment_id": "d1"}', "deploy"),  # of a version that says less
        ('{"type": "cancel", "deployment_id": 7}', "cancel"),
        ('{"type": 5}', ""),
        ("{}", ""),
        ('["deploy"]', ""),
        ('"reboot"', ""),
        ("null", ""),
    ],
)
def test_a_command_that_is_not_known_is_told_apart_and_does_no_harm(raw: str, verb: str) -> None:
    reply = msgspec.json.decode(f'{{"commands": [{raw}], "next_heartbeat_s": 60}}', type=ReceivedReply)
    assert [read_command(one) for one in reply.commands] == [Unknown(verb)]


def test_a_verb_of_any_length_can_be_reported_back() -> None:
    unknown = read_command(msgspec.Raw(json.dumps({"type": "x" * 1000}).encode()))
    assert isinstance(unknown, Unknown)
    read(Heartbeat, {"unknown_commands": [unknown.type]})


def test_an_answer_that_says_nothing_means_no_commands_and_the_usual_interval() -> None:
    assert read(ReceivedReply, {}) == ReceivedReply(commands=[], next_heartbeat_s=60.0, long_poll_s=0.0)


def test_absent_and_empty_are_not_the_same_in_a_heartbeat() -> None:
    """Absent facts, apps and installs mean "as before"; an empty list means that there are none."""
    assert read(Heartbeat, {}) == Heartbeat(facts=None, apps=None, installs=None)
    said = Heartbeat(facts={}, apps=[], installs=[])
    assert msgspec.json.decode(msgspec.json.encode(said), type=Heartbeat) == said


reports = st.builds(
    InstallReport,
    st.text(string.ascii_letters, max_size=64),
    st.sampled_from(Phase),
    st.none() | st.text(max_size=50),
    st.dictionaries(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    st.integers(0, 2**62),
)


@given(st.builds(Heartbeat, cpu_pct=st.none() | st.floats(0, 100), installs=st.none() | st.lists(reports, max_size=4)))
def test_a_heartbeat_is_read_as_it_was_sent(heartbeat: Heartbeat) -> None:
    assert msgspec.json.decode(msgspec.json.encode(heartbeat), type=Heartbeat) == heartbeat


def test_a_full_heartbeat_fits_into_its_cap() -> None:
    """The largest lists are for devices that say a lot of small things, not for the largest of each."""
    apps = [{"name": f"app-{i}", "version": "1.0.0", "digest": "a" * 64} for i in range(256)]
    assert len(json.dumps({"apps": apps})) < limits.HEARTBEAT_BYTES


def test_every_cap_is_a_positive_number_with_its_unit_in_the_name() -> None:
    caps = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert caps
    for name, value in caps.items():
        assert isinstance(value, int)
        assert value > 0
        assert name.endswith(("_BYTES", "_CHARACTERS", "_DEPTH", "_ITEMS", "METRICS")), name


def test_no_path_is_spelt_twice_and_every_gap_names_an_id() -> None:
    spelt = {name: value for name, value in vars(paths).items() if name.isupper()}
    assert len(set(spelt.values())) == len(spelt)
    for path in spelt.values():
        gaps = [gap for _, gap, _, _ in string.Formatter().parse(path) if gap is not None]
        assert path.startswith("/")
        assert all(gap.endswith("_id") for gap in gaps)
