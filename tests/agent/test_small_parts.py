"""The pure and the small: what is kept of output, what is said, what is configured."""

from pathlib import Path

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.agent import commands, facts, reports, settings
from kernex.agent.apps import App, Apps, remove_tree
from kernex.agent.health import Checked, Streak, Verdict, judge, read_verdict
from kernex.agent.output import Excerpt, RotatedFile
from kernex.agent.settings import Settings
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError
from kernex.domain.install import Phase
from kernex.domain.manifest import Health
from kernex.wire import limits
from kernex.wire.device import AppReport, Heartbeat, InstallReport

A, B, C = (Digest(letter * 64) for letter in "abc")


@hypothesis.settings(deadline=None)
@given(st.lists(st.binary(max_size=300)), st.integers(min_value=2, max_value=100))
def test_an_excerpt_keeps_both_ends_and_counts_the_rest(pieces: list[bytes], limit: int) -> None:
    excerpt, everything = Excerpt(limit), b"".join(pieces).replace(b"\xff", b"x")
    for piece in pieces:
        excerpt.write(piece.replace(b"\xff", b"x"))
    text, half = excerpt.text(), limit // 2
    if len(everything) <= 2 * half:
        assert text == everything.decode("utf-8", errors="replace")
    else:
        left_out = len(everything) - 2 * half
        gap = f"\n[… {left_out} bytes left out …]\n".encode()
        assert text == (everything[:half] + gap + everything[-half:]).decode("utf-8", errors="replace")


@hypothesis.settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=30))
def test_a_rotated_file_never_grows_over_its_limit(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "run.log"
    file = RotatedFile(path, 32)
    for piece in pieces:
        file.write(piece)
        assert not path.exists() or path.stat().st_size <= 32
    file.close()
    older = path.with_name("run.log.1")
    kept = b"".join(one.read_bytes() for one in (older, path) if one.exists())
    assert b"".join(pieces).endswith(kept)
    assert kept or not any(pieces)


def test_a_log_goes_on_when_the_disk_takes_it_again(tmp_path: Path) -> None:
    path, older = tmp_path / "logs" / "run.log", tmp_path / "logs" / "run.log.1"
    file = RotatedFile(path, 4)
    with pytest.raises(OSError, match="No such file"):
        file.write(b"lost")
    older.mkdir(parents=True)
    (older / "in the way").touch()
    file.write(b"1234")
    for _ in range(2):
        with pytest.raises(OSError, match="directory"):
            file.write(b"lost")
    (older / "in the way").unlink()
    older.rmdir()
    file.write(b"56")
    file.close()
    assert (older.read_bytes(), path.read_bytes()) == (b"1234", b"56")


def test_the_last_line_that_is_a_verdict_counts() -> None:
    printed = 'loading\n{"ok": false}\n{"ok": true, "metrics": {"p95_ms": 3}}\nbye\n'
    assert read_verdict(printed) == Verdict(ok=True, metrics={"p95_ms": 3.0})


@pytest.mark.parametrize(
    "printed", ["", "ok", "{}", '{"ok": "yes"}', '{"ok": true, "metrics": {"a": "b"}}', "{" * 9999]
)
def test_anything_else_is_no_verdict(printed: str) -> None:
    assert isinstance(read_verdict(printed), str)


def test_more_metrics_than_a_report_carries_are_no_verdict() -> None:
    metrics = ",".join(f'"m{number}": 1' for number in range(limits.METRICS + 1))
    assert isinstance(read_verdict(f'{{"ok": true, "metrics": {{{metrics}}}}}'), str)


def test_a_verdict_is_judged_by_the_thresholds_of_the_manifest() -> None:
    health = Health("probe.sh", thresholds={"speech": ">=0.8"})
    assert judge(health, Verdict(ok=True, metrics={"speech": 0.9})) == Checked(works=True, metrics={"speech": 0.9})
    assert judge(health, Verdict(ok=True, metrics={"speech": 0.1})).reason == "speech 0.1 (needs >=0.8)"
    assert judge(health, Verdict(ok=True)).reason == "speech was not measured (needs >=0.8)"
    assert judge(Health("probe.sh"), Verdict(ok=False, reason="no camera")).reason == "no camera"


def test_verdicts_count_in_a_row() -> None:
    health = Health("probe.sh", successes=2, failures=2)
    streak = Streak()
    for good, works in [(True, None), (False, None), (True, None), (True, True)]:
        streak = streak.after(good)
        assert streak.works(health) is works
    assert Streak().after(False).after(False).works(health) is False


def test_a_heartbeat_that_is_too_large_says_what_fits_and_the_rest_next_time() -> None:
    installs = [InstallReport(f"d{n}", Phase.FAILED, "\x1b" * limits.ERROR_CHARACTERS) for n in range(20)]
    fitted = reports.fit(Heartbeat(installs=installs, facts={"a": 1}))
    assert len(msgspec.json.encode(fitted)) <= limits.HEARTBEAT_BYTES
    told = reports.acknowledged(fitted)
    assert 0 < len(told) < 20
    assert told == [(f"d{n}", Phase.FAILED) for n in range(len(told))]


def test_even_a_device_full_of_apps_fits_into_a_heartbeat() -> None:
    apps = [AppReport("a" * 64, "1" * 128, "f" * 64, "failing", 9) for _ in range(256)]
    fitted = reports.fit(Heartbeat(apps=apps, facts={"text": "x" * limits.METADATA_BYTES}))
    assert len(msgspec.json.encode(fitted)) <= limits.HEARTBEAT_BYTES
    assert fitted.apps


@pytest.mark.parametrize(
    ("phase", "status", "outcome"),
    [
        (Phase.SUCCEEDED, "success", None),
        (Phase.FAILED, "failed", None),
        (Phase.ROLLED_BACK, "failed", "rolled_back"),
        (Phase.BROKEN, "failed", "broken"),
        (Phase.CANCELLED, "failed", "cancelled"),
    ],
)
def test_a_result_says_what_the_wire_knows(phase: Phase, status: str, outcome: str | None) -> None:
    result = reports.result(InstallReport("d", phase), "device")
    assert (result.status, result.outcome) == (status, outcome)


@hypothesis.settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_of_a_command_are_more_than_not_understood(data: bytes) -> None:
    commands.decide(commands.read(msgspec.Raw(data)), None, busy=False)


def test_facts_fit_the_wire_and_what_moves_is_coarse(tmp_path: Path) -> None:
    gathered = facts.gather(tmp_path)
    assert len(msgspec.json.encode(gathered)) <= limits.METADATA_BYTES
    assert gathered["memory_mb"] > 0
    assert [facts.coarse(number) for number in (7, 42, 1234, 98765)] == [7, 42, 1200, 98000]


def test_vitals_are_between_nothing_and_everything() -> None:
    vitals = facts.Vitals()
    sum(range(2_000_000))
    assert 0 <= (vitals.cpu_pct() or 0) <= 100
    assert vitals.memory_mb() > 0


def test_settings_are_defaults_unless_the_owner_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    assert settings.load(path) == Settings()
    path.write_text('settle_s = 9.5\npass_environment = ["LD_LIBRARY_PATH"]\n')
    assert settings.load(path) == Settings(settle_s=9.5, pass_environment=("LD_LIBRARY_PATH",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("settle = 1", "no setting 'settle'"),
        ('settle_s = "x"', "settle_s"),
        ("settle_s = -1", "negative"),
        ("[", "read"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(RejectedError, match=reason):
        settings.load(path)


def test_collecting_keeps_what_is_stood_on(tmp_path: Path) -> None:
    app = Apps(tmp_path)["vad"]
    app.prepare()
    for digest in (A, B, C):
        app.release(digest).mkdir()
        app.descriptor(digest).write_text("{}")
    app.staging(A).mkdir()
    app.stand_on(A)
    app.remember(B)
    Apps(tmp_path).collect()
    kept = {A, f"{A}.json", B, f"{B}.json"}
    assert {path.name for path in app.releases.iterdir()} == kept
    app.stand_on(None)
    assert app.current is None
    app.remember(None)
    Apps(tmp_path).collect()
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    """Or a disk that stutters while it is cleaned up would cost the release that runs, and its data."""
    unreadable = App(tmp_path / ("x" * 300))  # ENAMETOOLONG: an error that root gets too
    with pytest.raises(OSError, match="name too long"):
        _ = unreadable.current
    with pytest.raises(OSError, match="name too long"):
        unreadable.collect()
    no_link = App(tmp_path)
    (tmp_path / "current").write_text("")
    assert no_link.current is None


def test_cleaning_up_a_disk_that_fails_is_left_for_the_next_time(tmp_path: Path) -> None:
    Apps(tmp_path / ("x" * 300)).collect()


def test_a_tree_that_is_being_removed_has_lost_its_name(tmp_path: Path) -> None:
    """A cut in the middle leaves a hidden rest, never half a release under its name."""
    victim = tmp_path / "release"
    (victim / "locked").mkdir(parents=True)
    (victim / "locked" / "file").write_text("x")
    (victim / "locked").chmod(0o500)
    (tmp_path / ".gone-release").mkdir()  # from a cut before
    remove_tree(victim)
    assert list(tmp_path.iterdir()) == []
    remove_tree(victim)


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", ".hidden", "x" * 65])
def test_an_app_never_lies_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(RejectedError, match="as the name of an app"):
        Apps(tmp_path)[name]
