"""Containing what bundles bring: which level this machine can do, and how a program is started at it.

The program comes through a chain of small ones, each of which does its part and becomes the next::

    sh           joins the control group of the run, where there is one
    prlimit      sets its bounds
    bwrap        takes everything from its sight that it does not need; stays, as its keeper
    setpriv      becomes the user of the app, if the agent is root; gives up the way to more rights
    the program
"""

import logging
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kernex.agent import bubblewrap, cgroups, proc, seccomp, users
from kernex.agent.apps import App
from kernex.agent.settings import Level, Settings
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Permission

log = logging.getLogger(__name__)

_PROBE_S = 10.0  # for the run that shows whether a level works
_REASON = 200  # characters of why it does not
_JOIN = 'echo 0 2>/dev/null > "$0"; exec "$@"'  # a bound that cannot be had is no reason not to run
_NO_MORE_RIGHTS = ("--inh-caps=-all", "--bounding-set=-all")


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a program contained. `fds` are inherited, `kept` says that bwrap stays as its parent."""

    argv: list[str]
    environment: dict[str, str]
    fds: tuple[int, ...] = ()
    kept: bool = False
    group: Path | None = None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The level that this machine does, found once. `state` is the agent's directory."""

    settings: Settings
    state: Path
    level: Level = Level.NONE
    why_not: str = ""  # the stronger levels
    tools: Mapping[str, str] = field(default_factory=dict)
    shared: tuple[str, ...] = ()  # arguments of every bwrap
    groups: Path | None = None  # the control group to make others in

    @property
    def facts(self) -> dict[str, Any]:
        """For the heartbeat."""
        return {"level": self.level.value, **({"why_not": self.why_not} if self.why_not else {})}

    def admit(self, permissions: Collection[Permission]) -> None:
        """Refuse what this device's owner does not allow, or what cannot be contained as far as the owner wants."""
        allowed = self.settings.allow_permissions
        for permission in sorted(permissions):
            if permission not in allowed:
                raise RejectedError(
                    f"cannot grant the permission {permission}: this device allows {', '.join(allowed) or 'none'}; "
                    "name it in allow_permissions of agent.toml, or install a bundle that does without"
                )
        if Permission.PRIVILEGED not in permissions and not self.level.reaches(self.settings.sandbox_floor):
            raise RejectedError(
                f"cannot contain anything here as far as sandbox_floor wants, {self.settings.sandbox_floor}: "
                f"{self.why_not}; see to that, or lower sandbox_floor in agent.toml"
            )

    @contextmanager
    def command(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        app: App,
        readable: Sequence[Path],
        permissions: Collection[Permission],
        mark: str,
    ) -> Iterator[Command]:
        """How to run `argv` for `app`, while the context lasts. The first of `readable` is where it runs."""
        self.admit(permissions)
        root = os.geteuid() == 0
        if self.level is Level.NONE or Permission.PRIVILEGED in permissions:
            if root:
                users.give(app, 0)
            yield Command([*argv], dict(environment))
            return
        user = users.of(app, self.settings.first_uid) if root else None
        if user is not None and self.level is Level.RESTRICTED:
            users.open_to(app, user, self.state)
        group = self._group(mark)
        try:
            with self._contained(
                argv,
                environment,
                user=user,
                readable=readable,
                writable=(app.data, app.temporary),
                permissions=permissions,
                group=group,
            ) as command:
                yield command
        except BaseException:
            if group is not None:
                cgroups.remove(group)
            raise

    def trial(self) -> str | None:
        """Run a program that does nothing; why that does not work, or None when it does."""
        user = self.settings.first_uid if os.geteuid() == 0 else None
        with self._contained(["/bin/true"], {}, user=user, readable=[Path("/usr")]) as command:
            try:
                done = subprocess.run(
                    command.argv,
                    env=command.environment,
                    pass_fds=command.fds,
                    capture_output=True,
                    timeout=_PROBE_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
        said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        return None if done.returncode == 0 else (said[-1] if said else f"status {done.returncode}")[:_REASON]

    @contextmanager
    def _contained(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        user: int | None,
        readable: Sequence[Path],
        writable: Sequence[Path] = (),
        permissions: Collection[Permission] = (),
        group: Path | None = None,
    ) -> Iterator[Command]:
        outside = [*_joining(group), *self._bounds()]
        become = self._setpriv(user, permissions)
        if self.level is Level.RESTRICTED:
            yield Command([*outside, *become, *argv], dict(environment), group=group)
            return
        options = bubblewrap.arguments(
            readable=readable,
            writable=writable,
            hidden=self.state,
            environment=environment,
            permissions=permissions,
            root=user is not None,
        )
        with self._keeper(options, user) as (keeper, fds):
            inside = [] if user is None else become  # bwrap itself sees to no_new_privs
            yield Command([*outside, *keeper, *inside, *argv], {}, fds, kept=True, group=group)

    @contextmanager
    def _keeper(self, options: Sequence[str], user: int | None) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """bwrap, up to the program. Its options come through a descriptor: a command line can be read by
        everybody, and an environment by what is inside (``/proc/1/environ``)."""
        number = os.geteuid() if user is None else user
        passwd = f"root:x:0:0::/:/bin/sh\napp:x:{number}:{number}::/:/bin/sh\n"
        group = f"root:x:0:\napp:x:{number}:\n"
        with ExitStack() as stack:
            fds = []

            def held(content: bytes) -> str:
                fd = os.memfd_create("kernex")
                stack.callback(os.close, fd)
                os.write(fd, content)
                os.lseek(fd, 0, os.SEEK_SET)
                fds.append(fd)
                return str(fd)

            given = [*self.shared]
            for name, content in (("passwd", passwd), ("group", group)):
                given += ["--perms", "0644", "--ro-bind-data", held(content.encode()), f"/etc/{name}"]
            if (program := seccomp.program()) is not None:
                given += ["--seccomp", held(program)]
            arguments = held(b"".join(os.fsencode(word) + b"\0" for word in [*given, *options]))
            yield [self.tools["bwrap"], "--args", arguments, "--"], tuple(fds)

    def _bounds(self) -> list[str]:
        bounds = {
            "nproc": (resource.RLIMIT_NPROC, self.settings.max_processes + _threads_of_this_user()),
            "nofile": (resource.RLIMIT_NOFILE, self.settings.max_open_files),
            "fsize": (resource.RLIMIT_FSIZE, self.settings.max_file_bytes),
        }
        if self.settings.max_memory_bytes:
            bounds["as"] = (resource.RLIMIT_AS, self.settings.max_memory_bytes)
        words = [self.tools["prlimit"], "--core=0:0"]
        for name, (number, wanted) in bounds.items():
            _, most = resource.getrlimit(number)
            bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
            words.append(f"--{name}={bound}:{bound}")
        return [*words, "--"]

    def _setpriv(self, user: int | None, permissions: Collection[Permission]) -> list[str]:
        words = [self.tools["setpriv"], "--no-new-privs"]
        if user is not None:
            nodes = bubblewrap.devices() if Permission.GPU in permissions else []
            ids = sorted({Path(node).stat().st_gid for node in nodes} - {0})
            more = f"--groups={','.join(map(str, ids))}" if ids else "--clear-groups"
            words += [f"--reuid={user}", f"--regid={user}", more, *_NO_MORE_RIGHTS]
        return [*words, "--"]

    def _group(self, mark: str) -> Path | None:
        if self.groups is None or (self.level is Level.BUBBLEWRAP and not cgroups.bounds(self.groups)):
            return None  # a namespace ends all that is in it; joining a group costs as much as bwrap itself
        bounds = self.settings
        return cgroups.make(self.groups, mark, processes=bounds.max_processes, memory_bytes=bounds.max_memory_bytes)


def find(settings: Settings, state: Path, *, where: str | None = None) -> Sandbox:
    """The strongest level that works here, as a real run shows, and why no stronger one. `where` the tools are
    looked up, if not where the agent's own programs are."""
    state = state.absolute()
    if settings.sandbox is Level.NONE:
        return Sandbox(settings, state, why_not="agent.toml says sandbox = none")
    where = where or f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    tools = {name: path for name in ("bwrap", "prlimit", "setpriv") if (path := shutil.which(name, path=where))}
    for name in ("prlimit", "setpriv"):
        if name not in tools:
            return Sandbox(settings, state, why_not=f"{name} is not installed; it comes with util-linux")
    common: dict[str, Any] = {"tools": tools, "groups": cgroups.own()}
    reasons = []
    if settings.sandbox is not Level.BUBBLEWRAP:
        reasons.append(f"agent.toml says sandbox = {settings.sandbox}")
    elif "bwrap" not in tools:
        reasons.append("bwrap is not installed; it comes with the package bubblewrap")
    else:
        shared = bubblewrap.fixed(settings.path, state, settings.scratch_bytes)
        sandbox = Sandbox(settings, state, Level.BUBBLEWRAP, shared=tuple(shared), **common)
        if (reason := sandbox.trial()) is None:
            return sandbox
        reasons.append(f"bwrap does not work here: {reason}")
    weaker = Sandbox(settings, state, Level.RESTRICTED, **common)
    if (reason := _closed(state) or weaker.trial()) is not None:
        return Sandbox(settings, state, Level.NONE, "; ".join([*reasons, reason]))
    if os.geteuid() != 0:
        reasons.append("the agent is not root, so apps share its user")
    return replace(weaker, why_not="; ".join(reasons))


def _closed(state: Path) -> str | None:
    """What keeps another user than root from reaching a release below `state`."""
    if os.geteuid() != 0:
        return None
    shut = next((path for path in state.parents if not path.stat().st_mode & stat.S_IXOTH), None)
    return None if shut is None else f"apps cannot have users of their own below {shut}, which is closed to them"


def _joining(group: Path | None) -> list[str]:
    return [] if group is None else ["/bin/sh", "-c", _JOIN, str(group / "cgroup.procs")]


def _threads_of_this_user() -> int:
    """How many there are already: root's are not counted by the kernel, and an app has a user of its own then."""
    me = os.geteuid()
    if me == 0:
        return 0
    found = 0
    for one in proc.everybody():
        with suppress(OSError):
            directory = Path(f"/proc/{one.pid}")
            found += len(list((directory / "task").iterdir())) if directory.stat().st_uid == me else 0
    return found
