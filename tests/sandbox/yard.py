"""A device's state directory for these tests, with secrets in it, and programs that run on it contained.

Everything is real: the release lies where an agent unpacks it, the program is its script, and it is started
by the same `Scripts` and `ProcessDriver`.
"""

import json
import shlex
import stat
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from kernex.agent import sandbox
from kernex.agent.apps import Apps
from kernex.agent.drivers.process import ProcessDriver
from kernex.agent.interrupt import Stop
from kernex.agent.scripts import Finished, Release, Scripts
from kernex.agent.settings import Level, Settings
from kernex.agent.state import StateDirectory
from kernex.domain.bundle import Digest
from kernex.domain.manifest import Deploy, Manifest, Permission, Run

CANARY = "canary-3f9c"  # whatever shows it has seen what it must not see
#: Python without the shims that a developer's PATH may have: where this very interpreter is, and the system.
PATH = f"{Path(sys.prefix, 'bin')}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SETTINGS = Settings(
    path=PATH,
    term_grace_s=0.3,
    restart_first_s=0.05,
    max_processes=64,
    max_file_bytes=8 << 20,
    scratch_bytes=4 << 20,
    allow_permissions=tuple(Permission),
)


@dataclass(frozen=True, slots=True)
class Yard:
    """One device. `level` is the strongest that it tries."""

    state: StateDirectory
    scripts: Scripts
    driver: ProcessDriver

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings = SETTINGS, inside: str = "state") -> Iterator["Yard"]:
        """In a directory that other users may pass through, as ``/var/lib`` is; it lies `inside` it."""
        with tempfile.TemporaryDirectory(prefix="kernex-sandbox-", dir="/var/tmp") as directory:
            Path(directory).chmod(0o755)
            state = StateDirectory(Path(directory, inside))
            state.prepare()
            for secret in (state.key, state.journal, state.settings):
                secret.write_text(CANARY)
            found = sandbox.find(settings, state.root)
            scripts = Scripts(settings, state.mark, found)
            driver = ProcessDriver(scripts, Apps(state.apps))
            try:
                yield cls(state, scripts, driver)
            finally:
                driver.close()

    @property
    def level(self) -> Level:
        return self.scripts.sandbox.level

    def release(
        self,
        program: str,
        *arguments: str,
        app: str = "vad",
        permissions: tuple[Permission, ...] = (),
        run: Run | None = None,
        previous: Digest | None = None,
    ) -> Release:
        """A release whose deploy script is `program`, in Python or after ``#!`` in anything."""
        text = textwrap.dedent(program).lstrip()
        name = "script.sh" if text.startswith("#!") else "script.py"
        deploy = Deploy(shlex.join([name, *arguments]))
        manifest = Manifest("1.0.0", app, deploy=deploy, run=run, permissions=list(permissions))
        document = {"version": "1.0.0", "name": app, "permissions": list(permissions)}
        digest = Digest(sha256(text.encode()).hexdigest())
        made = Apps(self.state.apps)[app]
        made.prepare()
        directory = made.release(digest)
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        (directory / "manifest.json").write_text(json.dumps(document))
        (directory / name).write_text(text)
        (directory / name).chmod(0o755 if name.endswith(".sh") else 0o644)
        made.stand_on(digest)
        return Release(made, digest, manifest, previous)

    def run(self, release: Release, *, timeout_s: float = 20.0) -> Finished:
        """Run its deploy script as an install does."""
        assert release.manifest.deploy is not None
        return self.scripts.run(
            "deploy script", release.manifest.deploy.script, release, timeout_s=timeout_s, stop=Stop()
        )

    def says(self, program: str, *arguments: str, permissions: tuple[Permission, ...] = ()) -> str:
        """What a program says that runs contained; that it ends well is assumed."""
        ended = self.run(self.release(program, *arguments, permissions=permissions))
        assert ended.status == 0, ended.words
        return ended.words


def at(level: Level) -> Settings:
    return replace(SETTINGS, sandbox=level)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
