"""What an idle agent costs a device: memory, start-up and processor time, beside a bare Python of this run.

A real agent process, enrolled with the tests' control plane over real sockets, long after its first
heartbeat. Memory is the kernel's account (``/proc/PID/smaps_rollup``): RSS, and private dirty, which is what
the device cannot get back.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _figures import Figure, publish

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.agent.devices import Device
from tests.agent.fake_control_plane import FakeControlPlane

ROUNDS = 5
BEATS = 20  # before the memory is read
IDLE_S = 5.0  # for which the processor time between two heartbeats is counted
RSS_TARGET_MB, RSS_AIM_MB = 30, 25
BARE = "import time; time.sleep(60)"


def main() -> None:
    """Measure and publish."""
    starts, bare_starts = [], []
    with tempfile.TemporaryDirectory() as directory, FakeControlPlane.started() as fake:
        device = Device.new(Path(directory) / "device", fake.url).enrolled()
        for _ in range(ROUNDS):
            bare_starts.append(_bare_start())
            starts.append(_start(fake, device))
        fake.interval_s = 0.05
        with device.process() as agent:
            heard = len(fake.heartbeats)
            fake.wait(lambda: len(fake.heartbeats) >= heard + BEATS)
            rss_mb, dirty_mb = _memory_mb(agent.pid)
            fake.interval_s = 60
            heard = len(fake.heartbeats)
            fake.wait(lambda: len(fake.heartbeats) > heard)
            before = _cpu_s(agent.pid)
            time.sleep(IDLE_S)
            idle_pct = 100 * (_cpu_s(agent.pid) - before) / IDLE_S
    with subprocess.Popen([sys.executable, "-c", BARE]) as bare:
        time.sleep(0.5)
        bare_rss_mb, bare_dirty_mb = _memory_mb(bare.pid)
        bare.kill()
    start_s, bare_s = statistics.median(starts), statistics.median(bare_starts)
    publish(
        "agent",
        [
            Figure(
                name="idle RSS",
                value=round(rss_mb, 1),
                unit="MB",
                compared_with=f"bare Python, {bare_rss_mb:.1f} MB",
                ratio=round(rss_mb / bare_rss_mb, 2),
                target=f"<= {RSS_TARGET_MB} MB, aim {RSS_AIM_MB}",
                met=rss_mb <= RSS_TARGET_MB,
            ),
            Figure(
                name="idle private dirty",
                value=round(dirty_mb, 1),
                unit="MB",
                compared_with=f"bare Python, {bare_dirty_mb:.1f} MB",
                ratio=round(dirty_mb / bare_dirty_mb, 2),
            ),
            Figure(
                name="start to first heartbeat",
                value=round(start_s * 1000),
                unit="ms",
                compared_with=f"bare Python, {bare_s * 1000:.0f} ms",
                ratio=round(start_s / bare_s, 2),
            ),
            Figure(name="idle processor time", value=round(idle_pct, 2), unit="% of one core"),
        ],
    )


def _start(fake: FakeControlPlane, device: Device) -> float:
    """Seconds from starting the process to its first heartbeat, key, signature and login included."""
    heard = len(fake.heartbeats)
    began = time.perf_counter()
    with device.process():
        fake.wait(lambda: len(fake.heartbeats) > heard)
        return time.perf_counter() - began


def _bare_start() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _memory_mb(pid: int) -> tuple[float, float]:
    """RSS and private dirty memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    return int(kilobytes["Rss"]) / 1024, int(kilobytes["Private_Dirty"]) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
