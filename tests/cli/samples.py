"""Things of the wire, filled in; a test names what it is about."""

from datetime import UTC, datetime
from typing import Any

from kernex.cli.watch import Snapshot
from kernex.wire.operator import AssignmentReport, DeploymentDetail, DeviceSummary, WaveReport

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
DEPLOYMENT = "d0000000-0000-4000-8000-000000000000"


def device_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def device(number: int = 1, **fields: Any) -> DeviceSummary:
    usual: dict[str, Any] = {
        "device_id": device_id(number),
        "status": "accepted",
        "online": True,
        "device_type": None,
        "labels": {"site": "lyon"},
        "fingerprint": f"fp{number}",
        "registered_at": NOON,
        "last_heartbeat": NOON,
        "agent_version": "0.1.0",
        "apps": {"vad": "1.0.0"},
    }
    return DeviceSummary(**{**usual, **fields})


def assignment(number: int, state: str, *, wave: int = 1, **fields: Any) -> AssignmentReport:
    usual: dict[str, Any] = {"phase": None, "error_message": None, "metrics": {}, "updated_at": NOON}
    return AssignmentReport(device_id=device_id(number), wave=wave, state=state, **{**usual, **fields})


def snapshot(*assignments: AssignmentReport, open_waves: int = 1, **fields: Any) -> Snapshot:
    """A deployment with these assignments; waves and tallies follow from them."""
    waves = []
    for number in sorted({one.wave for one in assignments}):
        states = [one.state for one in assignments if one.wave == number]
        tally = {state: states.count(state) for state in states}
        waves.append(WaveReport(number=number, size=len(states), open=number <= open_waves, tally=tally))
    states = [one.state for one in assignments]
    usual: dict[str, Any] = {
        "deployment_id": DEPLOYMENT,
        "bundle_id": "b1",
        "bundle": "vad==2.0.0",
        "status": "running",
        "reason": None,
        "settled": False,
        "targets": len(assignments),
        "tally": {state: states.count(state) for state in states},
        "created_by": "ana",
        "created_at": NOON,
        "finished_at": None,
        "selector": "site=lyon",
        "max_failures": "0",
        "waves": waves,
    }
    return Snapshot(DeploymentDetail(**{**usual, **fields}), list(assignments))
