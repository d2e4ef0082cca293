"""Which level a device reaches, what it says of it, and what its owner may demand and allow."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.sandbox.yard import SETTINGS, Yard, at, mode

from kernex.agent import facts, sandbox, seccomp, settings, users
from kernex.agent.apps import Apps
from kernex.agent.settings import Level
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Permission

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to give")


def test_levels_are_ordered_from_the_strongest() -> None:
    assert Level.BUBBLEWRAP.reaches(Level.RESTRICTED)
    assert Level.RESTRICTED.reaches(Level.RESTRICTED)
    assert not Level.NONE.reaches(Level.RESTRICTED)


def test_the_heartbeat_tells_the_level_and_why_it_is_no_stronger_one(yard: Yard) -> None:
    told = facts.gather(yard.state.root, yard.scripts.sandbox.facts)
    assert msgspec.to_builtins(told["sandbox"]) == {"level": "bubblewrap"}
    weaker = sandbox.find(at(Level.NONE), yard.state.root)
    assert weaker.facts == {"level": "none", "why_not": "agent.toml says sandbox = none"}


@needs_root
def test_without_a_tool_a_weaker_level_is_reached_and_the_reason_named(yard: Yard) -> None:
    where = yard.state.root.parent / "bin"
    where.mkdir()
    for name in ("prlimit", "setpriv"):
        (where / name).symlink_to(shutil.which(name) or "")
    found = sandbox.find(SETTINGS, yard.state.root, where=str(where))
    assert found.level is Level.RESTRICTED
    assert found.why_not == "bwrap is not installed; it comes with the package bubblewrap"
    (where / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    (where / "bwrap").chmod(0o755)
    found = sandbox.find(SETTINGS, yard.state.root, where=str(where))
    assert found.level is Level.RESTRICTED
    assert found.why_not == "bwrap does not work here: bwrap: No permissions to create new namespace"
    (where / "setpriv").unlink()
    found = sandbox.find(SETTINGS, yard.state.root, where=str(where))
    assert (found.level, found.why_not) == (Level.NONE, "setpriv is not installed; it comes with util-linux")


@needs_root
def test_users_of_their_own_need_a_way_to_their_release(restricted: Yard) -> None:
    restricted.state.root.parent.chmod(0o700)
    found = sandbox.find(at(Level.RESTRICTED), restricted.state.root)
    assert found.level is Level.NONE
    assert found.why_not.endswith(f"below {restricted.state.root.parent}, which is closed to them")


def test_below_the_floor_nothing_runs_and_the_reason_says_the_way_out() -> None:
    with Yard.opened(replace(SETTINGS, sandbox=Level.NONE, sandbox_floor=Level.BUBBLEWRAP)) as yard:
        with pytest.raises(RejectedError) as refused:
            yard.run(yard.release("print('ran')"))
        assert str(refused.value) == (
            "cannot contain anything here as far as sandbox_floor wants, bubblewrap: agent.toml says sandbox = none; "
            "see to that, or lower sandbox_floor in agent.toml"
        )


def test_what_the_owner_does_not_allow_is_refused_with_a_way_out() -> None:
    defaults = settings.Settings(path=SETTINGS.path)
    with Yard.opened(defaults) as yard:
        yard.scripts.sandbox.admit([Permission.NETWORK, Permission.GPU])
        with pytest.raises(RejectedError, match=r"cannot grant the permission privileged: .* network, gpu; name it in"):
            yard.run(yard.release("print('ran')", permissions=(Permission.PRIVILEGED,)))
    with Yard.opened(replace(defaults, allow_permissions=())) as yard, pytest.raises(RejectedError, match="none; name"):
        yard.scripts.sandbox.admit([Permission.NETWORK])


def test_settings_are_read_by_name_and_misspelt_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('sandbox_floor = "restricted"\nallow_permissions = ["gpu"]\n')
    assert settings.load(path).sandbox_floor is Level.RESTRICTED
    assert settings.load(path).allow_permissions == (Permission.GPU,)
    for bad in ('sandbox = "docker"', 'allow_permissions = ["usb"]'):
        path.write_text(bad)
        with pytest.raises(RejectedError, match="Invalid enum value"):
            settings.load(path)


def test_granted_is_what_was_asked_for_and_no_more(yard: Yard) -> None:
    interfaces = "import socket; print(len(socket.if_nameindex()))"
    outside = len(list(Path("/sys/class/net").iterdir()))
    if outside > 1:
        assert yard.says(interfaces) == "1"
    assert yard.says(interfaces, permissions=(Permission.NETWORK,)) == str(outside)
    gpu = "import os; print(os.path.isdir('/sys/class'), os.access('/sys/kernel', os.W_OK))"
    assert yard.says(gpu) == "False False"
    assert yard.says(gpu, permissions=(Permission.GPU,)) == "True False"
    who = "import os; print(os.getuid(), os.path.exists('/home'))"
    assert yard.says(who, permissions=(Permission.PRIVILEGED,)) == f"{os.geteuid()} {Path('/home').exists()}"


def test_memory_has_a_bound_where_the_owner_sets_one(yard: Yard) -> None:
    with Yard.opened(replace(SETTINGS, max_memory_bytes=256 << 20)) as bounded:
        ended = bounded.run(bounded.release("bytes(512 << 20)"))
    assert ended.status == 1
    assert "MemoryError" in ended.words
    assert yard.run(yard.release("bytes(512 << 20)")).status == 0


def test_paths_mean_inside_what_they_mean_outside(yard: Yard) -> None:
    release = yard.release(
        """
        import os, sys
        from pathlib import Path
        print(Path(__file__).parent == Path(os.environ["KERNEX_RELEASE"]) == Path.cwd())
        print(Path(os.environ["KERNEX_PREVIOUS"], "manifest.json").exists())
        Path(os.environ["KERNEX_DATA"], "written").write_text(sys.executable)
        Path(os.environ["TMPDIR"], "scratch").touch()
        print(sys.prefix, Path.home() == Path(os.environ["KERNEX_DATA"]))
        """,
        previous=yard.release("#!/bin/sh\ntrue\n").digest,
    )
    ended = yard.run(release)
    same, previous, rest = ended.printed.splitlines()
    assert (same, previous) == ("True", "True")
    assert rest == f"{Path(SETTINGS.path.split(':')[0]).parent} True", "not the interpreter that the search path names"
    assert (release.app.data / "written").read_text().startswith(SETTINGS.path.split(":")[0])


def test_the_command_line_tells_nobody_the_environment(yard: Yard) -> None:
    seen = yard.says("import glob; print([open(name).read() for name in glob.glob('/proc/[0-9]*/cmdline')])")
    assert "KERNEX_DATA" not in seen
    assert (
        yard.says("import os; print(os.access('/proc/1/environ', os.R_OK) and open('/proc/1/environ').read())")
        in (
            "False",
            "",
        )
        or os.geteuid()
    )


def test_a_state_directory_inside_of_what_is_shown_stays_hidden(yard: Yard) -> None:
    with Yard.opened(inside="lib/state") as other:
        beside = other.state.root.parents[1] / "bin"
        beside.mkdir()
        (beside / "tool").touch()
        other.state.root.parent.chmod(0o755)
        shown = replace(SETTINGS, path=f"{SETTINGS.path}:{beside}")
        seeing = replace(other, scripts=replace(other.scripts, sandbox=sandbox.find(shown, other.state.root)))
        said = seeing.says(f"import os; print(os.listdir({str(beside)!r}), os.listdir({str(other.state.root)!r}))")
    assert said == "['tool'] ['apps']"


def test_every_app_is_a_user_of_its_own_and_its_data_follows(restricted: Yard) -> None:
    owners = set()
    for name in ("vad", "pump"):
        release = restricted.release("import os; print(os.getuid())", app=name)
        (release.app.data / "old").mkdir(exist_ok=True)
        (release.app.data / "old" / "file").touch()
        printed = int(restricted.run(release).printed)
        assert printed == release.app.data.stat().st_uid == (release.app.data / "old" / "file").stat().st_uid
        assert printed in range(SETTINGS.first_uid, SETTINGS.first_uid + users.COUNT)
        assert mode(release.app.data) == 0o700
        owners.add(printed)
    assert len(owners) == 2
    assert mode(restricted.state.key) == 0o600
    restricted.state.prepare()  # the agent starts again in a directory through which apps may pass


def test_data_goes_back_to_who_runs_when_a_release_is_privileged(restricted: Yard) -> None:
    write = "import os; open(os.environ['KERNEX_DATA'] + '/kept', 'a').write('x')"
    restricted.says(write)
    restricted.says(write + " # 2", permissions=(Permission.PRIVILEGED,))
    data = Apps(restricted.state.apps)["vad"].data
    assert data.stat().st_uid == (data / "kept").stat().st_uid == os.geteuid()
    restricted.says(write + " # 3")
    assert (data / "kept").read_text() == "xxx"


def test_a_name_that_data_shares_with_the_outside_is_not_given_away(restricted: Yard) -> None:
    release = restricted.release("print('ran')")
    precious = restricted.state.root.parent / "precious"
    precious.touch()
    os.link(precious, release.app.data / "taken")
    restricted.run(release)
    assert precious.stat().st_uid == os.geteuid()


def test_more_apps_than_users_is_said_not_shared(restricted: Yard) -> None:
    release = restricted.release("print('ran')")
    for number in range(users.COUNT):
        other = Apps(restricted.state.apps)[f"app-{number}"]
        other.prepare()
        os.chown(other.data, SETTINGS.first_uid + number, -1)
    with pytest.raises(RejectedError, match="cannot run vad as a user of its own: all 256 are taken"):
        restricted.run(release)


def test_a_program_that_is_not_there_is_said_as_without_a_sandbox(yard: Yard) -> None:
    release = yard.release("print('ran')")
    for program, why in (("/no/such", "No such file"), ("no-such", "No such file"), ("./manifest.json", "Permission")):
        with pytest.raises(RejectedError, match=f"cannot run {program!r}: {why}"):
            yard.scripts.start([program], release, mark="m")


def test_a_death_by_signal_is_told_as_one(yard: Yard) -> None:
    assert yard.run(yard.release("import os; os.kill(os.getpid(), 9)")).status == -9
    assert yard.run(yard.release("#!/bin/sh\nexit 3\n")).status == 3


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_the_filter_is_whole_for_every_machine_that_it_knows(machine: str) -> None:
    program = seccomp.program(machine)
    assert program is not None
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096  # BPF_MAXINSNS


def test_a_machine_whose_calls_are_not_known_gets_no_filter() -> None:
    assert seccomp.program("m68k") is None
