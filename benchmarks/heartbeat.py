"""What a heartbeat costs the server: CPU time by the operating system's accounting, beside a bare answer.

The bare answer is a raw ASGI function in the same uvicorn, asked in the same run by the same client. The
whole heartbeat is authenticated, validated, its pending work read from the database, last-seen written.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _figures import Figure, publish

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.control_plane import ControlPlane

from kernex.wire import paths

DEVICES = 256
CONNECTIONS = 64
ROUNDS = 3
REQUESTS = 300  # of each connection and round
BARE = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] == "http":
        await receive()
        body = b'{"commands":[],"next_heartbeat_s":60.0}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, lifespan="off")
"""
BODY = b'{"agent_version":"0.1.0","status":"idle","cpu_pct":12.5,"memory_mb":512.0}'


def main() -> None:
    """Measure and publish."""
    with tempfile.TemporaryDirectory() as directory, ControlPlane.started(Path(directory)) as server, _bare() as bare:
        key = server.enrolment_key(uses=DEVICES)
        devices = [server.device(key) for _ in range(DEVICES)]
        port = int(server.url.rsplit(":", 1)[1])
        beats = [_request(paths.HEARTBEAT.format(device_id=one.device_id), one.token) for one in devices]
        costs: dict[str, list[float]] = {"heartbeat": [], "bare asgi": []}
        for warm in (True, *[False] * ROUNDS):
            for name, pid, target in (("heartbeat", server.process.pid, port), ("bare asgi", bare.pid, _BARE_PORT)):
                cost = _cost(pid, target, beats)
                if not warm:
                    costs[name].append(cost)
    heartbeat, floor = (sorted(costs[name])[ROUNDS // 2] for name in ("heartbeat", "bare asgi"))
    publish(
        "heartbeat",
        [
            Figure(name="bare asgi", value=floor, unit="us of server CPU"),
            Figure(
                name=f"sqlite {DEVICES} devices",
                value=heartbeat,
                unit="us of server CPU",
                compared_with="bare asgi",
                ratio=heartbeat / floor,
            ),
        ],
    )


_BARE_PORT = 18_441


@contextmanager
def _bare() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", BARE, str(_BARE_PORT)], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _request(path: str, token: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return head.encode() + BODY


def _cost(pid: int, port: int, requests: list[bytes]) -> float:
    """Microseconds of CPU that the process spent on one request."""
    before = _cpu_seconds(pid)
    asyncio.run(_load(port, requests))
    return (_cpu_seconds(pid) - before) * 1e6 / (CONNECTIONS * REQUESTS)


async def _load(port: int, requests: list[bytes]) -> None:
    async def ask(number: int) -> None:
        for attempt in range(50):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.1 * (attempt > 0))
        for turn in range(REQUESTS):
            writer.write(requests[(number + turn * CONNECTIONS) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            match = re.search(rb"content-length: (\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or match is None:
                sys.exit(f"cannot measure: the server answered {head!r}")
            await reader.readexactly(int(match[1]))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask(number) for number in range(CONNECTIONS)))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
