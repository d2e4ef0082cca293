"""The control plane may be down, slow, of another version, or hostile. The client gives a domain error for each."""

import socket
import subprocess
import sys

import msgspec
import pytest
from tests.cli.command import environment
from tests.cli.samples import device
from tests.cli.scripted import scripted

from kernex.cli.client import ControlPlane
from kernex.domain import errors
from kernex.wire import limits
from kernex.wire.operator import Page


def _problem(status: int, detail: str) -> bytes:
    return msgspec.json.encode({"title": "no", "status": status, "detail": detail})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RejectedError),
        (401, errors.UnauthenticatedError),
        (403, errors.DeniedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (413, errors.RejectedError),
        (429, errors.UnavailableError),
        (500, errors.UnavailableError),
        (503, errors.UnavailableError),
        (302, errors.RejectedError),  # never followed: the token is for this address
    ],
)
def test_each_status_is_the_error_that_says_what_to_do_next(status: int, kind: type[errors.KernexError]) -> None:
    with (
        scripted(lambda _: (status, _problem(status, "cannot do it: for a reason"))) as url,
        ControlPlane(url, None) as control,
        pytest.raises(errors.KernexError, match=r"^cannot do it: for a reason$") as caught,
    ):
        control.device("1")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "body", [b"", b"<html>502 Bad Gateway</html>", b"{}", b'{"title": 7, "status": 500}', b"\xff\xfe"]
)
def test_an_error_page_of_something_else_is_said_to_be_one(body: bytes) -> None:
    with (
        scripted(lambda _: (502, body)) as url,
        ControlPlane(url, None) as control,
        pytest.raises(errors.UnavailableError, match=r"^cannot understand 127.0.0.1: it answered 502"),
    ):
        control.device("1")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"items": 7}', b'{"items": [{"device_id": 1}]}', b"[" * 10_000])
def test_an_answer_of_another_shape_is_said_to_be_one(body: bytes) -> None:
    with (
        scripted(lambda _: (200, body)) as url,
        ControlPlane(url, None) as control,
        pytest.raises(errors.UnavailableError, match=r"^cannot understand the control plane's answer"),
    ):
        list(control.devices())


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with (
        scripted(lambda _: (200, b" " * (limits.JSON_BYTES + 1))) as url,
        ControlPlane(url, None) as control,
        pytest.raises(errors.UnavailableError, match=rf"longer than {limits.JSON_BYTES} bytes"),
    ):
        control.device("1")


def test_pages_are_read_one_after_the_other_and_their_query_is_kept() -> None:
    asked = []

    def script(path: str) -> tuple[int, bytes]:
        asked.append(path)
        last = "after=second" in path
        return 200, msgspec.json.encode(Page([device(len(asked))], None if last else "second"))

    with scripted(script) as url, ControlPlane(url, None) as control:
        found = [one.fingerprint for one in control.devices("site=lyon")]
    assert found == ["fp1", "fp2"]
    assert ["selector=site%3Dlyon" in path for path in asked] == [True, True]


def test_a_server_that_sends_the_same_page_for_ever_is_left() -> None:
    page = msgspec.json.encode(Page([device()], "again"))
    with scripted(lambda _: (200, page)) as url, ControlPlane(url, None) as control:
        assert len(list(control.devices())) == 2


def test_a_field_of_a_newer_server_is_ignored() -> None:
    known = msgspec.to_builtins(device())
    body = msgspec.json.encode({"items": [known | {"mood": "good"}], "next": None, "total": 1})
    with scripted(lambda _: (200, body)) as url, ControlPlane(url, None) as control:
        assert [one.fingerprint for one in control.devices()] == ["fp1"]


@pytest.mark.parametrize("identifier", ["../keys", "a/b", "", "x?y", "..", "a%2fb"])
def test_an_id_is_never_a_path(identifier: str) -> None:
    with (
        ControlPlane("http://127.0.0.1:9", None) as control,
        pytest.raises(errors.NotFoundError, match=r"^cannot find"),
    ):
        control.device(identifier)


def test_whoever_says_nothing_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with ControlPlane(url, None, timeout_s=0.2) as patient:
            assert patient.healthy() is False
            with pytest.raises(errors.UnavailableError, match=r"it did not answer in time$"):
                patient.device("1")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    page = msgspec.json.encode(Page([device(number) for number in range(1000)]))
    with scripted(lambda _: (200, page)) as url:
        command = subprocess.Popen(
            [sys.executable, "-m", "kernex.cli", "device", "list", "-o", "jsonl"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(url),
        )
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        said = command.stderr.read()
        command.stderr.close()
        assert (command.wait(), said) == (0, b"")
