"""The one place where an agent is put together, and where signals reach it."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from kernex.agent import facts, processes, sandbox, settings
from kernex.agent.agent import Agent
from kernex.agent.apps import Apps
from kernex.agent.control_plane import ControlPlane, Login
from kernex.agent.drivers.process import ProcessDriver
from kernex.agent.identity import read_enrolment
from kernex.agent.install.journal import Journal
from kernex.agent.install.step import Workplace
from kernex.agent.installed import Installed
from kernex.agent.interrupt import Stop
from kernex.agent.keys import Key
from kernex.agent.scripts import Scripts
from kernex.agent.space import Ballast
from kernex.agent.state import StateDirectory
from kernex.domain.errors import KernexError

log = logging.getLogger(__name__)


@contextmanager
def assembled(state: StateDirectory, login: Login | None = None) -> Iterator[Agent]:
    """The agent of an enrolled state directory, alone in it. `login` signs in place of the device's key file."""
    state.prepare()
    with state.lock():
        values = settings.load(state.settings)
        enrolment = read_enrolment(state)
        control_plane = ControlPlane(enrolment.url, values)
        key = partial(Key(state.key, state.mark).assert_identity, enrolment.device_id)
        control_plane.log_in_as(enrolment, login or key)
        apps, contained = Apps(state.apps), sandbox.find(values, state.root)
        scripts = Scripts(values, state.mark, contained)
        driver = ProcessDriver(scripts, apps)
        ballast = Ballast(state.ballast, values.ballast_bytes, values.disk_margin_bytes)
        journal = Journal(state.journal, ballast.give_up)
        try:
            workplace = Workplace(
                apps=apps,
                downloads=state.downloads,
                source=control_plane,
                driver=driver,
                scripts=scripts,
                settings=values,
                stop=Stop(),
                ballast=ballast,
                facts=partial(facts.gather, state.root, contained.facts),
            )
            yield Agent(enrolment.device_id, control_plane, journal, workplace, Installed(apps, driver, ballast))
        finally:
            driver.close()
            control_plane.close()
            journal.close()


def run(state: StateDirectory, *, once: bool, login: Login | None = None) -> bool:
    """Run until SIGTERM or SIGINT, or for one heartbeat. Whether all went well."""
    processes.adopt_orphans()
    with assembled(state, login) as agent:
        well = threading.Event()
        reader, writer = os.pipe()

        def live() -> None:
            try:
                if once and not agent.run_once():
                    return
                if not once:
                    agent.run()
                well.set()
            except (KernexError, OSError) as error:
                log.error("%s", error)  # noqa: TRY400 - one line an event
            finally:
                os.write(writer, b".")

        # The first thread does nothing but wait for signals. The kernel may hand one to any thread (to the one
        # that starts a process, as it unblocks signals), and then this read is not interrupted: so the
        # interpreter's own C handler writes to the pipe, in whatever thread it runs.
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        thread = threading.Thread(target=live, name="agent")
        thread.start()
        os.read(reader, 1)
        signal.set_wakeup_fd(-1)
        agent.quit()
        thread.join()
        return well.is_set()
