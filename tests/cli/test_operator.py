"""An operator's day, as commands: a real control plane, devices that speak the wire, exit codes."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import Ended, environment
from tests.cli.command import kernex as run
from tests.control_plane import ControlPlane
from tests.simulated import SimulatedDevice


@pytest.fixture
def word() -> str:
    """A word of this test's own: the control plane is shared, what is in it is not."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def bundle(tmp_path: Path, word: str) -> Path:
    """A directory that builds, as version 1.0.0 of an app called `word`."""
    directory = tmp_path / word
    directory.mkdir()
    manifest = {"name": word, "version": "1.0.0", "model": {"name": "silero"}, "deploy": {"script": "deploy.sh"}}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (directory / "deploy.sh").write_text("exit 0\n")
    return directory


class Cli:
    """``kernex`` against one control plane."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.url, self.token = control_plane.url, control_plane.token

    def __call__(self, *argv: str, code: int = 0) -> Ended:
        ended = run(*argv, url=self.url, token=self.token)
        assert ended.code == code, ended
        return ended

    def objects(self, *argv: str) -> Any:
        return json.loads(self(*argv, "-o", "json").out)


@pytest.fixture
def kernex(control_plane: ControlPlane) -> Cli:
    return Cli(control_plane)


Join = Callable[..., SimulatedDevice]


@pytest.fixture
def join(kernex: Cli, word: str) -> Iterator[Join]:
    """Lets a device in, with the label site=`word`."""
    with ExitStack() as stack:

        def enrolled(*options: str) -> SimulatedDevice:
            key = kernex("key", "create", "--auto-approve", "--label", f"site={word}", *options).out.strip()
            device = SimulatedDevice(kernex.url)
            stack.enter_context(device.http)
            return device.enrolled(key)

        yield enrolled


@contextmanager
def obeying(device: SimulatedDevice, status: str = "success", **result: object) -> Iterator[None]:
    """A device that reports this result for whatever it is told to deploy."""
    over = threading.Event()

    def live() -> None:
        while not over.wait(0.05):
            for command in device.commands(wait_s=1):
                if command["type"] == "deploy":
                    assert device.result(command["deployment_id"], status, **result).status_code == 200

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_key_is_printed_alone_and_the_line_for_the_device_beside_it(kernex: Cli, word: str) -> None:
    made = kernex("key", "create", "--label", f"site={word}", "--label", "rack=3", "--uses", "2", "--expires", "2h")
    assert re.fullmatch(r"kxe_\S+\n", made.out)
    assert f"kernex-agent enroll {kernex.url} --key {made.out.strip()}" in made.err
    assert "kernex device approve" in made.err
    listed = [key for key in kernex.objects("key", "list") if key["labels"] == {"site": word, "rack": "3"}]
    assert [key["uses_left"] for key in listed] == [2]
    table = kernex("key", "list").out
    assert f"rack=3,site={word}" in table
    assert made.out.strip() not in table


@pytest.mark.parametrize(
    ("noun", "next_command"),
    [
        ("key", "kernex key create"),
        ("device", "kernex key create"),
        ("bundle", "kernex bundle push"),
        ("deployment", "kernex deploy"),
    ],
)
def test_an_empty_list_says_what_to_do_next(empty: Cli, noun: str, next_command: str) -> None:
    said = empty(noun, "list")
    assert said.out == ""
    assert next_command in said.err
    assert empty.objects(noun, "list") == []
    assert empty(noun, "list", "-o", "jsonl").out == empty(noun, "list", "-o", "name").out == ""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A control plane in which there is nothing yet."""
    with ControlPlane.started(tmp_path_factory.mktemp("empty")) as running:
        yield Cli(running)


def test_a_device_waits_for_approval_by_fingerprint_and_is_revoked_by_id(kernex: Cli) -> None:
    device = SimulatedDevice(kernex.url)
    with device.http:
        assert device.register().status_code == 201
        (listed,) = [one for one in kernex.objects("device", "list") if one["device_id"] == device.device_id]
        assert listed["status"] == "pending"
        kernex("device", "approve", listed["fingerprint"][:10])
        assert device.login().status_code == 200
        device.heartbeat(agent_version="0.1.0", facts={"arch": "aarch64"}, cpu_pct=5.0)
        shown = kernex("device", "show", device.device_id[:13]).out
        for words in (device.device_id, "✔ accepted", "arch", "aarch64", listed["fingerprint"]):
            assert words in shown
        kernex("device", "revoke", device.device_id)
        assert device.heartbeat().status_code in (401, 403)
        kernex("device", "approve", device.device_id, code=5)


def test_devices_are_picked_by_selector(kernex: Cli, join: Join, word: str) -> None:
    one, other = join("--label", "rack=1").device_id, join("--label", "rack=2").device_id
    assert kernex("device", "list", "-s", f"site={word},rack=1", "-o", "name").out.split() == [one]
    assert kernex("device", "list", "-s", f"site={word}", "-o", "name").out.split() == [one, other]
    assert f"no device matches site=not-{word}" in kernex("device", "list", "-s", f"site=not-{word}").err


@pytest.mark.parametrize(
    "argv",
    [
        ["device", "show", "nothing"],
        ["device", "approve", "zzzzzzzz"],
        ["deployment", "show", "00000000-0000-4000-8000-000000000000"],
        ["deployment", "watch", "nothing"],
        ["bundle", "show", "vad==9.9.9"],
        ["bundle", "push", "/nowhere.tar.zst"],
        ["bundle", "build", "/nowhere", "-o", "/tmp/x"],
        ["deploy", "vad==9.9.9", "--to", "site=nowhere"],
    ],
)
def test_what_is_not_there_is_4(kernex: Cli, argv: list[str]) -> None:
    assert kernex(*argv, code=4).err.startswith("error: cannot ")


def test_a_bundle_that_was_never_pushed_is_4(kernex: Cli, join: Join, word: str) -> None:
    join()
    assert kernex("deploy", f"{word}==9.9.9", "--to", f"site={word}", code=4).err.startswith("error: cannot ")


def test_without_or_with_a_wrong_token_is_3_and_says_how_to_get_one(control_plane: ControlPlane) -> None:
    for token in ("", "kxp_wrong"):
        ended = run("device", "list", url=control_plane.url, token=token)
        assert ended.code == 3
        assert "hint: set KERNEX_TOKEN; make a token with: kernex server token create" in ended.err
    assert run("device", "list", url=control_plane.url, token="späť").code == 5


def test_a_role_that_may_not_is_3(control_plane: ControlPlane, bundle: Path) -> None:
    with control_plane.with_role("viewer") as viewer:
        token = viewer.headers["Authorization"].removeprefix("Bearer ")
    assert run("bundle", "push", str(bundle), url=control_plane.url, token=token).code == 3
    assert run("bundle", "list", url=control_plane.url, token=token).code == 0


def test_a_bundle_is_built_pushed_listed_and_shown(kernex: Cli, bundle: Path, word: str, tmp_path: Path) -> None:
    packed = tmp_path / "packed.tar.zst"
    built = kernex("bundle", "build", str(bundle), "-o", str(packed))
    assert built.out == f"{packed}\n"
    assert f"{word}==1.0.0: 2 files" in built.err
    pushed = kernex("bundle", "push", str(packed))
    assert pushed.out == f"{word}==1.0.0\n"
    assert "100% of" in pushed.err
    assert f"kernex deploy {word}==1.0.0" in pushed.err
    assert kernex("bundle", "push", str(bundle)).out == pushed.out, "the same bytes again are no conflict"
    assert kernex("bundle", "list", "-o", "name").out.split().count(f"{word}==1.0.0") == 1
    shown = kernex("bundle", "show", f"{word}==1.0.0").out
    for words in ("deploy.sh", "manifest.json", '"script": "deploy.sh"', "silero"):
        assert words in shown
    whole = kernex.objects("bundle", "show", f"{word}==1.0.0")
    assert [file["path"] for file in whole["descriptor"]["files"]] == ["deploy.sh", "manifest.json"]
    assert kernex("bundle", "show", whole["bundle"]["bundle_id"][:18], "-o", "name").out == pushed.out


def test_other_bytes_under_the_same_version_are_5(kernex: Cli, bundle: Path) -> None:
    kernex("bundle", "push", str(bundle))
    (bundle / "deploy.sh").write_text("exit 1\n")
    assert "\nerror: cannot " in kernex("bundle", "push", str(bundle), code=5).err


def test_what_is_no_bundle_is_5(kernex: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.tar.zst").write_bytes(b"nothing of the kind")
    assert "error: cannot " in kernex("bundle", "push", str(tmp_path / "x.tar.zst"), code=5).err
    (tmp_path / "empty").mkdir()
    assert "manifest.json" in kernex("bundle", "push", str(tmp_path / "empty"), code=5).err


def test_a_directory_is_built_pushed_and_deployed_in_one_go(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    with obeying(join()):
        ended = kernex("deploy", str(bundle), "--to", f"site={word}", "--wait", "--timeout", "30s")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", ended.out)
    assert f"{word}==1.0.0 runs on 1 of 1" in ended.err
    (listed,) = [one for one in kernex.objects("deployment", "list") if one["bundle"] == f"{word}==1.0.0"]
    assert (listed["deployment_id"], listed["status"]) == (ended.out.strip(), "completed")
    assert re.search(rf"{word}==1.0.0 +✔ completed +1/1", kernex("deployment", "list").out)


def test_a_bad_release_is_6_and_says_why(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    reason = "\x1b[2Jspeech 0 (needs >=0.8)"
    with obeying(join()), obeying(join(), "failed", outcome="rolled_back", error_message=reason):
        ended = kernex("deploy", str(bundle), "--to", f"site={word}", "--watch", "--timeout", "30s", code=6)
    deployment = ended.out.strip()
    assert re.search(r"↩ rolled back  .*speech 0 \(needs >=0.8\)", ended.err)
    assert "\x1b" not in ended.err
    assert f"hint: see why: kernex deployment show {deployment}" in ended.err
    kernex("deployment", "watch", deployment[:18], code=6)
    shown = kernex("deployment", "show", deployment).out
    assert "speech 0 (needs >=0.8)" in shown
    assert "✖ aborted" in shown
    states = {one["state"] for one in kernex.objects("deployment", "show", deployment)["assignments"]}
    assert "rolled_back" in states


def test_waves_and_limits_reach_the_control_plane(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    for _ in range(4):
        join()
    strategy = ["--waves", "1,50%,100%", "--max-failures", "25%"]
    started = kernex("deploy", str(bundle), "--to", f"site={word}", *strategy)
    assert "goes to 4 devices" in started.err
    assert f"kernex deployment watch {started.out.strip()}" in started.err
    detail = kernex.objects("deployment", "show", started.out.strip())["deployment"]
    assert [wave["size"] for wave in detail["waves"]] == [1, 1, 2]
    assert detail["max_failures"] == "25%"


def test_a_deployment_to_nobody_is_refused_before_anything_is_sent(kernex: Cli, bundle: Path, word: str) -> None:
    ended = kernex("deploy", str(bundle), "--to", f"site={word}", code=4)
    assert f"no device matches 'site={word}'" in ended.err
    assert word not in kernex("bundle", "list", "-o", "name").out


def test_waiting_too_long_is_7_and_says_how_to_come_back(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    join()
    ended = kernex("deploy", str(bundle), "--to", f"site={word}", "--wait", "--timeout", "1s", code=7)
    assert f"kernex deployment watch {ended.out.strip()}" in ended.err


def test_an_aborted_deployment_is_over_and_6(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    join()
    deployment = kernex("deploy", str(bundle), "--to", f"site={word}").out.strip()
    kernex("deployment", "abort", deployment)
    watched = kernex("deployment", "watch", deployment, "--timeout", "20s", code=6)
    assert "✖ aborted" in watched.out
    assert "aborted" in watched.err


def test_ctrl_c_looks_away_and_the_deployment_goes_on(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    device = join()
    deployment = kernex("deploy", str(bundle), "--to", f"site={word}").out.strip()
    with subprocess.Popen(
        [sys.executable, "-m", "kernex.cli", "deployment", "watch", deployment],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(kernex.url, kernex.token, PYTHONUNBUFFERED="1"),
    ) as watching:
        assert watching.stdout is not None
        assert "opens" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert f"come back with: kernex deployment watch {deployment}" in said
    with obeying(device):
        kernex("deployment", "watch", deployment, "--timeout", "30s")


def test_on_a_terminal_the_deployment_is_drawn_in_place(kernex: Cli, join: Join, bundle: Path, word: str) -> None:
    ours, theirs = pty.openpty()
    with (
        obeying(join()),
        subprocess.Popen(
            [sys.executable, "-m", "kernex.cli", "deploy", str(bundle), "--to", f"site={word}", "--watch"],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env=environment(kernex.url, kernex.token, TERM="xterm", LINES="40"),
        ) as watching,
    ):
        os.close(theirs)
        drawn = "".join(_read(ours))
    os.close(ours)
    assert watching.returncode == 0
    for words in ("━", "wave 1", "succeeded", "\x1b[1A"):
        assert words in drawn


def _read(terminal: int) -> Iterator[str]:
    """Everything until the other side of a pseudo-terminal is closed."""
    while True:
        try:
            yield os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            return


def test_labels_and_facts_that_are_hostile_print_as_words(kernex: Cli, join: Join, word: str) -> None:
    device = join("--label", "rack=[bold]3[/]")
    device.heartbeat(facts={"\x1b[2Jarch": "\x1b]0;owned\x07arm"}, status="\x9b31m")
    shown = kernex("device", "show", device.device_id).out
    assert "[bold]3[/]" in shown
    for steering in ("\x1b", "\x9b", "owned"):
        assert steering not in shown
    assert kernex("device", "show", device.device_id, "-o", "json").out.isascii()
    assert "[bold]3[/]" in kernex("device", "list", "-s", f"site={word}").out
