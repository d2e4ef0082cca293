"""What the device says about itself. Facts change rarely; what moves all the time is in `Vitals`."""

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

import kernex
from kernex.agent import proc
from kernex.wire.limits import METADATA_BYTES

_TEXT = 200  # characters of one fact
_OPTIONAL = ("device_model", "gpu")  # left out, in this order, should the facts be too large


def gather(state: Path, sandbox: dict[str, Any] | None = None) -> dict[str, Any]:
    """The facts of this machine, within the wire's cap. `state` is on the disk that is asked for its space;
    `sandbox` is how far scripts are contained, once that is known."""
    system = os.uname()
    facts: dict[str, Any] = {
        "arch": system.machine,
        "os": system.sysname.lower(),
        "kernel": system.release[:_TEXT],
        "hostname": system.nodename[:_TEXT],
        "python": platform.python_version(),
        "agent": kernex.__version__,
        "cpu_count": os.cpu_count() or 1,
        "memory_mb": _memory_kb("MemTotal") // 1024,
        "disk_free_mb": coarse(shutil.disk_usage(state).free >> 20),
        "boot_id": proc.boot_id(),
    }
    if sandbox is not None:
        facts["sandbox"] = sandbox
    optional = {"device_model": _text("/proc/device-tree/model"), "gpu": _gpu()}
    facts |= {name: value for name, value in optional.items() if value}
    for name in _OPTIONAL:
        if len(msgspec.json.encode(facts)) > METADATA_BYTES:
            facts.pop(name, None)
    return facts


def coarse(number: int) -> int:
    """Its two leading digits: a disk that fills by a megabyte an hour is no news."""
    unit = int(10 ** max(0, len(str(number)) - 2))
    return number // unit * unit


class Vitals:
    """How busy the machine was since the last time that it was asked."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), _busy_s())

    def cpu_pct(self) -> float | None:
        now, busy = time.monotonic(), _busy_s()
        (then, was), self._last = self._last, (now, busy)
        elapsed = (now - then) * (os.cpu_count() or 1)
        return round(min(100.0, max(0.0, 100.0 * (busy - was) / elapsed)), 1) if elapsed > 0 else None

    def memory_mb(self) -> float:
        """Memory in use."""
        return round((_memory_kb("MemTotal") - _memory_kb("MemAvailable")) / 1024, 1)


def _busy_s() -> float:
    """Processor seconds spent since boot, idle and waiting left out."""
    fields = _text("/proc/stat").split("\n", 1)[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _memory_kb(name: str) -> int:
    for line in _text("/proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0


def _gpu() -> dict[str, Any]:
    """What the kernel says without any driver library: NVIDIA's ``/proc``, DRM's ``/sys``."""
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        fields = dict(line.split(":", 1) for line in _text(str(information)).splitlines() if ":" in line)
        return {"vendor": "nvidia", "model": fields.get("Model", "").strip()[:_TEXT]}
    for memory in sorted(Path("/sys/class/drm").glob("card[0-9]*/device/mem_info_vram_total")):
        return {"vendor": "amd", "memory_mb": int(_text(str(memory)) or 0) >> 20}
    return {}


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
