"""The one place where the control plane is put together."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from litestar import Litestar, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from kernex import __version__
from kernex.server.access import Access
from kernex.server.bundles import Bundles
from kernex.server.clock import Clock, system_clock
from kernex.server.deployments import Deployments
from kernex.server.devices import Devices
from kernex.server.heartbeats import Heartbeats
from kernex.server.http import bundle_api, device_api, operator_api, problems
from kernex.server.http.heartbeat import HeartbeatEndpoint
from kernex.server.http.policy import OPT, Anybody, guard
from kernex.server.reconciler import Reconciler
from kernex.server.settings import Settings
from kernex.server.store.blobs import Blobs
from kernex.server.store.database import Database
from kernex.server.wakeups import Wakeups
from kernex.wire import limits, paths

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What `create_app` built: the ASGI app to serve, and the framework inside it."""

    asgi: HeartbeatEndpoint
    framework: Litestar
    heartbeats: Heartbeats

    def stopping(self) -> None:
        """The process is about to stop: answer the devices that are parked, so that none holds it up."""
        self.heartbeats.release()


def create_app(settings: Settings, clock: Clock = system_clock) -> ControlPlane:
    """Open the stores, bring the schema up to date, wire everything."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.incoming.mkdir(exist_ok=True)
    for left in settings.incoming.iterdir():  # uploads that a kill cut off
        left.unlink()
    database = Database(settings.database)
    database.migrate()
    blobs = Blobs(settings.store)
    wakeups = Wakeups()
    access = Access(database, settings, clock)
    devices = Devices(database, access, settings, clock)
    bundles = Bundles(database, blobs, clock)
    deployments = Deployments(database, wakeups, settings, clock)
    heartbeats = Heartbeats(database, wakeups, settings, clock)
    reconciler = Reconciler(database, wakeups, settings, clock)

    @asynccontextmanager
    async def work(_app: Litestar) -> AsyncIterator[None]:
        wakeups.attach(asyncio.get_running_loop())
        tasks = [asyncio.create_task(heartbeats.run()), asyncio.create_task(reconciler.run())]
        for task in tasks:
            task.add_done_callback(_end_with)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
            database.close()

    framework = Litestar(
        [
            *device_api.routes(access, devices, heartbeats, settings.access_token_s),
            *bundle_api.routes(bundles, devices, blobs, settings),
            *operator_api.device_routes(devices, settings, clock),
            *operator_api.deployment_routes(deployments),
            *operator_api.health_routes(),
        ],
        guards=[guard(access)],
        exception_handlers={Exception: problems.answer},
        request_max_body_size=limits.JSON_BYTES,
        lifespan=[work],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Kernex",
            version=__version__,
            render_plugins=[JsonRenderPlugin(path=Path(paths.OPENAPI).name)],
            openapi_router=Router(str(Path(paths.OPENAPI).parent), route_handlers=[], opt={OPT: Anybody()}),
            use_handler_docstrings=True,
        ),
    )
    return ControlPlane(HeartbeatEndpoint(framework, heartbeats, access, settings), framework, heartbeats)


def _end_with(task: "asyncio.Task[None]") -> None:
    """A control plane whose background work died answers nobody: end, so that whoever started it starts it
    again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("background work died; the control plane ends", exc_info=error)
        signal.raise_signal(signal.SIGTERM)
