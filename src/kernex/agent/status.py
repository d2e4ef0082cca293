"""``kernex-agent status``: reads only, beside a running agent or without one."""

import msgspec

from kernex.agent.apps import Apps
from kernex.agent.identity import Enrolment, read_enrolment
from kernex.agent.install.journal import Journal
from kernex.agent.scripts import Release
from kernex.agent.state import StateDirectory
from kernex.domain.errors import KernexError, NotFoundError

_SHOWN = 10  # installs


class AppStatus(msgspec.Struct):
    name: str
    version: str
    digest: str
    previous: str | None


class InstallStatus(msgspec.Struct):
    deployment_id: str
    bundle: str  # name==version
    phase: str
    error: str | None
    metrics: dict[str, float]


class Status(msgspec.Struct):
    """`running`: an agent holds the state directory now. `installs`: the newest last."""

    state_dir: str
    running: bool
    enrolment: Enrolment | None
    apps: list[AppStatus]
    installs: list[InstallStatus]


def look(state: StateDirectory) -> Status:
    """The device as its state directory shows it."""
    if not state.root.is_dir():
        raise NotFoundError(f"cannot find {state.root}: run kernex-agent enroll URL --key KEY")
    try:
        enrolment = read_enrolment(state)
    except NotFoundError:
        enrolment = None
    return Status(str(state.root), state.locked(), enrolment, _apps(state), _installs(state))


def text(status: Status) -> str:
    """The same for people."""
    who = status.enrolment
    lines = [
        f"device  {who.device_id} of {who.url}" if who else "device  not enrolled",
        f"agent   {'running' if status.running else 'not running'} in {status.state_dir}",
    ]
    lines += [f"app     {app.name} {app.version} ({app.digest[:12]})" for app in status.apps]
    for install in status.installs:
        error = f": {install.error}".replace("\n", " | ") if install.error else ""
        lines.append(f"install {install.bundle} {install.phase}{error}")
    return "\n".join(lines) + "\n"


def _apps(state: StateDirectory) -> list[AppStatus]:
    found = []
    for app in Apps(state.apps):
        digest, previous = app.current, app.previous
        if digest:
            try:
                version = Release.read(app, digest).manifest.version
            except KernexError:
                version = "?"
            found.append(AppStatus(app.name, version, str(digest), previous and str(previous)))
    return found


def _installs(state: StateDirectory) -> list[InstallStatus]:
    if not state.journal.exists():
        return []
    journal = Journal(state.journal)
    try:
        return [
            InstallStatus(one.deployment_id, f"{one.app}=={one.version}", one.phase, one.error, one.metrics)
            for one in journal.latest(_SHOWN)
        ]
    finally:
        journal.close()
