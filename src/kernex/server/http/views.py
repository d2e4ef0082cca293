"""Rows as the wire says them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from kernex.domain import device as device_domain
from kernex.server.clock import timestamp
from kernex.server.deployments import Standing
from kernex.server.store.bundles import Bundle
from kernex.server.store.deployments import Assignment, Tally
from kernex.server.store.devices import Device
from kernex.wire import operator as wire


def device(one: Device, *, interval_s: float, now: float) -> wire.DeviceSummary:
    return wire.DeviceSummary(**_device(one, interval_s, now))


def device_detail(one: Device, owed: Iterable[Assignment], *, interval_s: float, now: float) -> wire.DeviceDetail:
    return wire.DeviceDetail(
        **_device(one, interval_s, now),
        facts=one.facts,
        hardware_metadata=one.hardware_metadata,
        activity=one.activity,
        cpu_pct=one.cpu_pct,
        memory_mb=one.memory_mb,
        assignments=[
            wire.DeviceAssignment(
                share.deployment_id,
                f"{share.app}=={share.version}",
                share.state.value,
                share.error_message,
                timestamp(share.updated_ms),
            )
            for share in owed
        ],
    )


def bundle(one: Bundle) -> wire.BundleSummary:
    model = one.manifest.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    return wire.BundleSummary(
        **_uploaded(one),
        size_bytes=one.size_bytes,
        created_at=timestamp(one.created_ms),
        model_name=name if isinstance(name, str) else None,
        manifest=one.manifest,
    )


def uploaded(one: Bundle) -> wire.BundleUploaded:
    return wire.BundleUploaded(**_uploaded(one))


def deployment(one: Standing) -> wire.DeploymentSummary:
    return wire.DeploymentSummary(**_deployment(one))


def deployment_detail(one: Standing) -> wire.DeploymentDetail:
    return wire.DeploymentDetail(
        **_deployment(one),
        selector=one.deployment.selector,
        max_failures=one.deployment.max_failures,
        waves=[
            wire.WaveReport(number, sum(tally.values()), number <= one.deployment.open_waves, _tally([tally]))
            for number, tally in sorted(one.tallies.items())
        ],
    )


def assignment(one: Assignment) -> wire.AssignmentReport:
    return wire.AssignmentReport(
        one.device_id,
        one.wave,
        one.state.value,
        one.phase,
        one.error_message,
        one.metrics,
        timestamp(one.updated_ms),
    )


def enrolment_key(row: Any) -> wire.EnrolmentKeySummary:
    return wire.EnrolmentKeySummary(
        row.key_id,
        msgspec.json.decode(row.labels),
        row.uses_left,
        row.auto_approve,
        row.created_by,
        timestamp(row.created_ms),
        timestamp(row.expires_ms),
    )


def _device(one: Device, interval_s: float, now: float) -> dict[str, Any]:
    return {
        "device_id": one.device_id,
        "status": one.state.value,
        "online": device_domain.is_online(one.seen_s, interval_s, now),
        "device_type": one.device_type,
        "labels": one.labels,
        "fingerprint": one.thumbprint,
        "registered_at": timestamp(one.registered_ms),
        "last_heartbeat": None if one.seen_ms is None else timestamp(one.seen_ms),
        "agent_version": one.agent_version,
        "apps": {app["name"]: app["version"] for app in one.apps},
    }


def _uploaded(one: Bundle) -> dict[str, Any]:
    return {
        "bundle_id": one.bundle_id,
        "name": one.name,
        "version": one.version,
        "checksum_sha256": one.checksum_sha256,
        "digest": one.digest,
    }


def _deployment(standing: Standing) -> dict[str, Any]:
    one = standing.deployment
    tally = _tally(standing.tallies.values())
    return {
        "deployment_id": one.deployment_id,
        "bundle_id": one.bundle_id,
        "bundle": f"{one.app}=={one.version}",
        "status": one.state.value,
        "reason": one.reason,
        "settled": standing.settled,
        "targets": sum(tally.values()),
        "tally": tally,
        "created_by": one.created_by,
        "created_at": timestamp(one.created_ms),
        "finished_at": None if one.finished_ms is None else timestamp(one.finished_ms),
    }


def _tally(tallies: Iterable[Tally]) -> dict[str, int]:
    total: dict[str, int] = {}
    for tally in tallies:
        for state, count in tally.items():
            total[state.value] = total.get(state.value, 0) + count
    return total
