"""A user for each app, when the agent is root: its data is its own, and its processes are not the agent's.

Who an app is, is written nowhere but on its data directory: the owner. Users have numbers from a range that
nothing else uses and need no entry in ``/etc/passwd``.
"""

import os
import stat
import threading
from pathlib import Path

from kernex.agent.apps import App
from kernex.domain.errors import RejectedError

COUNT = 256  # of users, from `Settings.first_uid` on

_lock = threading.Lock()


def of(app: App, first: int) -> int:
    """The user of `app`, which owns its data from now on."""
    numbers = range(first, first + COUNT)
    with _lock:
        owner = app.data.stat().st_uid
        if owner in numbers:
            return owner
        taken = {_owner(other) for other in app.root.parent.iterdir()}
        user = next((number for number in numbers if number not in taken), None)
        if user is None:
            raise RejectedError(f"cannot run {app.name} as a user of its own: all {COUNT} are taken by other apps")
        give(app, user)
        return user


def give(app: App, user: int) -> None:
    """Make `user` the owner of the app's data. May be repeated: the directory itself, which says that it is
    done, comes last."""
    for top in (app.temporary, app.data):
        if top.stat().st_uid == user:
            continue
        for directory, names, files, fd in os.fwalk(top, topdown=False):
            for name in names + files:
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode) and seen.st_nlink > 1:
                    continue  # it has another name, perhaps outside
                os.chown(name, user, user, dir_fd=fd, follow_symlinks=False)
            if directory == str(top):
                os.fchmod(fd, 0o700)
                os.fchown(fd, user, user)


def open_to(app: App, user: int, state: Path) -> None:
    """Let `user` walk to its own release and data, where no sandbox shows them: it may pass through the state
    directory and the app's, list neither, and read nothing else."""
    for path in state.iterdir():
        if not path.is_symlink() and path.name != app.root.parent.name:
            path.chmod(0o700 if path.is_dir() else 0o600)
    for directory, mode in ((app.releases, 0o711), (app.root.parent, 0o711), (state, 0o711)):
        directory.chmod(mode)
    os.chown(app.root, -1, user)
    app.root.chmod(0o710)


def _owner(root: Path) -> int | None:
    try:
        return (root / "data").stat().st_uid
    except OSError:
        return None
