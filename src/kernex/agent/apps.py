"""What is installed: ``<state>/apps/<name>/`` and what lies in it.

::

    apps/vad/current  -> releases/<digest>     what runs
    apps/vad/previous -> releases/<digest>     the good release before it
    apps/vad/pins/<digest>                     an empty file: its owner wants to keep this release
    apps/vad/releases/<digest>/                a bundle, unpacked and whole: half a release never has this name
    apps/vad/releases/<digest>.json            its descriptor
    apps/vad/data/                             HOME of its scripts; outlives releases
    apps/vad/run.log, run.json                 of its workload
"""

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kernex import durable
from kernex.domain.bundle import NAME, Digest
from kernex.domain.errors import NotFoundError, RejectedError

log = logging.getLogger(__name__)

_HIDDEN = "."  # first letter of what is not a release: being unpacked, or on its way out


@dataclass(frozen=True, slots=True)
class App:
    """One app's directory. Every write here is durable when it returns and may be repeated."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def log(self) -> Path:
        """What its workload printed."""
        return self.root / "run.log"

    @property
    def footprint(self) -> Path:
        """How to find its workload again."""
        return self.root / "run.json"

    def release(self, digest: Digest) -> Path:
        return self.releases / digest

    def descriptor(self, digest: Digest) -> Path:
        return self.releases / f"{digest}.json"

    @property
    def current(self) -> Digest | None:
        """The release that the app stands on; None when it was never installed. OSError when the disk does not say."""
        return self._target("current")

    @property
    def previous(self) -> Digest | None:
        return self._target("previous")

    @property
    def pinned(self) -> frozenset[Digest]:
        """Releases that are kept whatever runs."""
        pins = self.root / "pins"
        names = [path.name for path in pins.iterdir()] if pins.is_dir() else []
        return frozenset(Digest(name) for name in names if Digest.is_one(name))

    def pin(self, digest: Digest) -> None:
        """Keep a release that is here; NotFoundError when it is not, or was just removed."""
        durable.make_directory(self.root / "pins")
        durable.write(self.root / "pins" / digest, b"")
        if not self.release(digest).is_dir():
            self.unpin(digest)
            raise NotFoundError(f"cannot pin {digest.short} of {self.name}: there is no such release here")

    def unpin(self, digest: Digest) -> None:
        """It goes as soon as nothing stands on it."""
        if digest in self.pinned:
            durable.remove(self.root / "pins" / digest)

    def find(self, digest: str) -> Digest:
        """The release whose digest begins so, or NotFoundError."""
        names = [path.name for path in self.releases.iterdir()] if self.releases.is_dir() else []
        found = [Digest(name) for name in names if Digest.is_one(name) and name.startswith(digest)]
        if len(found) != 1:
            raise NotFoundError(f"cannot tell which release of {self.name} {digest[:64]!r} is: {len(found)} begin so")
        return found[0]

    def prepare(self) -> None:
        for directory in (self.releases, self.data, self.temporary):
            durable.make_directory(directory)

    def stand_on(self, digest: Digest | None) -> None:
        """Switch `current`, in one step."""
        self._point("current", digest)

    def remember(self, digest: Digest | None) -> None:
        """Set `previous`, in one step."""
        self._point("previous", digest)

    def staging(self, digest: Digest) -> Path:
        """Where a release is unpacked before it gets its name."""
        return self.releases / f"{_HIDDEN}staging-{digest}"

    def collect(self) -> None:
        """Remove what neither `current` nor `previous` stands on and nobody pinned; all of it when nothing is left."""
        keep = {str(digest) for digest in (self.current, self.previous, *self.pinned) if digest}
        if not keep:
            remove_tree(self.root)
            return
        for entry in list(self.releases.iterdir()) if self.releases.is_dir() else []:
            if entry.name.removesuffix(".json") not in keep:
                remove_tree(entry)

    def _target(self, link: str) -> Digest | None:
        try:
            return Digest((self.root / link).readlink().name)
        except (FileNotFoundError, RejectedError):
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is there and no link: nobody stands on that
                return None
            raise  # an unreadable link taken for none would cost the release and the data

    def _point(self, link: str, digest: Digest | None) -> None:
        if digest is None:
            durable.remove(self.root / link)
        else:
            durable.point(self.root / link, f"releases/{digest}")


@dataclass(frozen=True, slots=True)
class Apps:
    """All of them."""

    root: Path

    def __getitem__(self, name: str) -> App:
        if not NAME.fullmatch(name):
            raise RejectedError(f"cannot use {name[:80]!r} as the name of an app")
        return App(self.root / name)

    def __iter__(self) -> Iterator[App]:
        with suppress(FileNotFoundError):
            yield from (App(path) for path in sorted(self.root.iterdir()) if NAME.fullmatch(path.name))

    def installed(self) -> list[tuple[App, Digest]]:
        """The apps that stand on a release, and on which. One whose link cannot be read is left out."""
        found = []
        for app in self:
            try:
                if digest := app.current:
                    found.append((app, digest))
            except OSError as error:
                log.error("cannot read what %s stands on: %s", app.name, error)  # noqa: TRY400 - one line an event
        return found

    def collect(self) -> None:
        """Remove every release that nothing stands on. What cannot be removed now is left for the next time."""
        with cleaning(self.root):
            for path in [*self.root.glob(f"{_HIDDEN}*")]:
                with cleaning(path):
                    remove_tree(path)
            for app in self:
                with cleaning(app.root):
                    app.collect()


@contextmanager
def cleaning(path: Path) -> Iterator[None]:
    """A disk that fails while something is removed is no reason to stop: it is left for the next time."""
    try:
        yield
    except OSError as error:
        log.warning("cannot clean up %s: %s", path, error)


def remove_tree(path: Path) -> None:
    """Remove a directory or file. It loses its name first: half a directory is never taken for a whole one."""
    if path.is_symlink() or path.is_file():
        durable.remove(path)
        return
    if not path.exists():
        return
    doomed = path
    if not path.name.startswith(_HIDDEN):
        doomed = path.with_name(f"{_HIDDEN}gone-{path.name}")
        if doomed.exists():
            remove_tree(doomed)
        durable.rename(path, doomed)
    for directory, _, _ in os.walk(doomed):
        os.chmod(directory, 0o700)  # noqa: PTH101 - a release may have made its own directories read-only
    shutil.rmtree(doomed)
    durable.sync_directory(doomed.parent)
