"""``python -m kernex.server``: settings in, app out, uvicorn around it. People call it ``kernex server``."""

import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import structlog
import uvicorn
from cyclopts import App, Parameter
from structlog.tracebacks import ExceptionDictTransformer

from kernex import __version__
from kernex.domain.errors import KernexError
from kernex.domain.role import Role
from kernex.server.access import Access
from kernex.server.app import ControlPlane, create_app
from kernex.server.clock import system_clock
from kernex.server.http.protocol import CappedHttp
from kernex.server.settings import Settings
from kernex.server.store.database import Database

DAY_S = 86400

cli = App(name="kernex server", help="Run and set up a control plane.", version=__version__)
token = App(name="token", help="API tokens for operators and programs.")
cli.command(token)

DataDir = Annotated[
    Path,
    Parameter(env_var="KERNEX_DATA_DIR", help="Where the database and the bundles live, unless URLs say otherwise."),
]
DatabaseUrl = Annotated[
    str,
    Parameter(env_var="KERNEX_DATABASE_URL", help="postgresql://… for many devices. Default: SQLite in the data dir."),
]


@cli.command
def run(
    *,
    data_dir: DataDir,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 8440,
    database_url: DatabaseUrl = "",
    store_url: Annotated[
        str,
        Parameter(
            env_var="KERNEX_STORE_URL", help="s3://, gs:// or az:// for bundles. Default: files in the data dir."
        ),
    ] = "",
    heartbeat_interval: Annotated[float, Parameter(help="Seconds between a device's heartbeats.")] = 60.0,
    long_poll: Annotated[float, Parameter(help="Seconds that a device may wait for a command; 0 turns it off.")] = 50.0,
    max_bundle_bytes: Annotated[int, Parameter(help="The largest upload taken, in bytes.")] = 100 * 1024**3,
    tls_cert: Annotated[Path | None, Parameter(help="Certificate chain in PEM; needs --tls-key.")] = None,
    tls_key: Annotated[Path | None, Parameter(help="Private key in PEM; needs --tls-cert.")] = None,
) -> None:
    """Run the control plane until it is told to stop.

    The database schema is brought up to date at start. Stop with Ctrl-C or SIGTERM: requests that are
    under way are answered first.
    """
    settings = Settings(
        data_dir=data_dir,
        database_url=database_url,
        store_url=store_url,
        heartbeat_interval_s=heartbeat_interval,
        long_poll_s=long_poll,
        keep_alive_s=int(max(heartbeat_interval, long_poll)) + 30,
        max_bundle_bytes=max_bundle_bytes,
    )
    control_plane = create_app(settings)
    config = uvicorn.Config(
        control_plane.asgi,
        host=host,
        port=port,
        loop="uvloop",
        http=CappedHttp,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=10,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    _Server(config, control_plane).run()


@token.command
def create(
    *,
    role: Annotated[Role, Parameter(help="What the token may do.")],
    data_dir: DataDir,
    name: Annotated[str, Parameter(help="Whose it is; shown beside everything that it does.")] = "",
    days: Annotated[int, Parameter(help="Days until it expires.")] = 365,
    database_url: DatabaseUrl = "",
) -> None:
    """Make an API token and print it, this once. Needs access to the database, not to a running server."""
    settings = Settings(data_dir=data_dir, database_url=database_url)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database)
    database.migrate()
    made = Access(database, settings, system_clock).create_token(name or role.value, role, days * DAY_S)
    database.close()
    sys.stdout.write(made + "\n")
    sys.stderr.write(f"role {role}, valid for {days} days; use it as KERNEX_TOKEN. It is not shown again.\n")


class _Server(uvicorn.Server):
    """Says where it listens, and lets parked devices go before it drains."""

    def __init__(self, config: uvicorn.Config, control_plane: ControlPlane) -> None:
        super().__init__(config)
        self._control_plane = control_plane

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                scheme = "https" if self.config.is_ssl else "http"
                structlog.get_logger().info("listening", url=f"{scheme}://{host}:{port}", version=__version__)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._control_plane.stopping()
        super().handle_exit(sig, frame)


def _configure_logging() -> None:
    """To stderr: readable on a terminal, JSON lines everywhere else."""
    terminal = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback
        )
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without the locals of the frames: credentials are among them.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
            if not terminal
            else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> None:
    """The command line."""
    _configure_logging()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        cli()
    except KernexError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
