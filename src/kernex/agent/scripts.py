"""Running a bundle's script: no shell, an environment from scratch, a sandbox, a wall clock, nothing left."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernex.agent import processes
from kernex.agent.apps import App
from kernex.agent.interrupt import Stop
from kernex.agent.output import Excerpt
from kernex.agent.sandbox import Sandbox
from kernex.agent.settings import Settings
from kernex.bundle import manifest
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import INTERPRETERS, Manifest, command_line

log = logging.getLogger(__name__)

_LAST_WORDS = 1500  # characters of output in an error message


@dataclass(frozen=True, slots=True)
class Release:
    """One release of an app, read: what runs scripts and workloads needs to know of it."""

    app: App
    digest: Digest
    manifest: Manifest
    previous: Digest | None = None

    @classmethod
    def read(cls, app: App, digest: Digest, previous: Digest | None = None) -> "Release":
        """The release with its manifest, or RejectedError when it is not there or not readable."""
        try:
            data = (app.release(digest) / "manifest.json").read_bytes()
        except OSError as error:
            raise RejectedError(f"cannot use the release {digest.short} of {app.name}: {error.strerror}") from None
        return cls(app, digest, manifest.read(data), previous)

    @property
    def path(self) -> Path:
        return self.app.release(self.digest)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a script ended. `status` is its exit status, negative for a signal; `printed` is its standard
    output, `words` the end of everything that it printed."""

    status: int
    printed: str
    words: str


@dataclass(frozen=True, slots=True)
class Scripts:
    """Starts what bundles bring, for one agent. `mark` names the agent in every run."""

    settings: Settings
    mark: str
    sandbox: Sandbox

    def environment(self, release: Release) -> dict[str, str]:
        """All that a bundle's process gets to see. No variable of the agent unless the owner lists it."""
        passed = {name: os.environ[name] for name in self.settings.pass_environment if name in os.environ}
        return {
            **passed,
            "PATH": self.settings.path,
            "LANG": "C.UTF-8",
            "HOME": str(release.app.data),
            "TMPDIR": str(release.app.temporary),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "KERNEX_APP": release.app.name,
            "KERNEX_VERSION": release.manifest.version,
            "KERNEX_RELEASE": str(release.path),
            "KERNEX_DATA": str(release.app.data),
            "KERNEX_PREVIOUS": str(release.app.release(release.previous)) if release.previous else "",
        }

    def start(self, argv: Sequence[str], release: Release, *, mark: str, merge_errors: bool = False) -> processes.Run:
        """Start a program of the release, as contained as this device does it.

        Raises RejectedError when the device's owner does not allow it, or the program is not to be found. The
        thread that calls this has to wait for the end of the run (`kernex.agent.processes.start`).
        """
        path = self.settings.path
        program = str(release.path / argv[0]) if "/" in argv[0] else argv[0]
        if shutil.which(program, path=path) is None:
            why = errno.EACCES if Path(program).exists() else errno.ENOENT
            raise RejectedError(f"cannot run {argv[0]!r}: {os.strerror(why)}")
        previous = [release.app.release(release.previous)] if release.previous else []
        with self.sandbox.command(
            argv,
            self.environment(release),
            app=release.app,
            readable=[release.path, *(path for path in previous if path.is_dir())],
            permissions=release.manifest.asks_for,
            mark=mark,
        ) as command:
            return processes.start(
                command.argv,
                cwd=release.path,
                environment=command.environment,
                mark=mark,
                merge_errors=merge_errors,
                fds=command.fds,
                kept=command.kept,
                group=command.group,
            )

    def run(self, what: str, script: str, release: Release, *, timeout_s: float, stop: Stop) -> Finished:
        """Run a script of the release to its end. `what` names it in messages.

        Raises RejectedError when it cannot be started or is out of time. When this returns or raises,
        nothing that the script started is left.
        """
        stop.check()
        argv = _argv(script, release.path)
        try:
            run = self.start(argv, release, mark=processes.new_mark(self.mark))
        except OSError as error:
            raise RejectedError(f"cannot run the {what} {script!r}: {error.strerror}") from None
        printed, everything = Excerpt(self.settings.output_bytes), Excerpt(self.settings.output_bytes)
        out, err = (pipe.fileno() for pipe in run.outputs)

        def both(data: bytes) -> None:
            printed.write(data)
            everything.write(data)

        deadline = time.monotonic() + timeout_s
        in_time, survivors = False, 0
        try:
            in_time = processes.attend(
                run,
                {out: both, err: everything.write},
                until=lambda: stop.quitting or time.monotonic() >= deadline,
            )
        finally:
            survivors = processes.end(run, grace_s=0 if in_time or stop.quitting else self.settings.term_grace_s)
        stop.check()
        words = everything.last_words(_LAST_WORDS)
        if not in_time:
            raise RejectedError(f"cannot wait longer for the {what} {script!r}: {timeout_s:g} s are over{_said(words)}")
        if survivors:
            log.warning("the %s %r left %d processes behind; they were ended", what, script, survivors)
        return Finished(processes.status(run), printed.text(), words)

    def must_run(self, what: str, script: str, release: Release, *, timeout_s: float, stop: Stop) -> None:
        """Run a script that has to end with status 0, or raise RejectedError with its last words."""
        ended = self.run(what, script, release, timeout_s=timeout_s, stop=stop)
        if ended.status:
            raise RejectedError(f"{what} {script!r} failed: {status(ended.status)}{_said(ended.words)}")


def status(code: int) -> str:
    """An exit status in words."""
    return f"it was killed by signal {-code}" if code < 0 else f"it ended with status {code}"


def _argv(script: str, release: Path) -> list[str]:
    name, *arguments = command_line(script)
    path = release / name
    if not path.is_file():
        raise RejectedError(f"cannot run {name!r}: the bundle has no such file")
    if os.access(path, os.X_OK):
        return [str(path), *arguments]
    interpreter = INTERPRETERS.get(path.suffix)
    if interpreter is None:
        raise RejectedError(
            f"cannot run {name!r}: it is not executable, and its name does not end in {' or '.join(INTERPRETERS)}"
        )
    return [interpreter, str(path), *arguments]


def _said(words: str) -> str:
    return f"; it said: {words}" if words else "; it said nothing"
