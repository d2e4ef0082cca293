"""Rows to start a test of the store from."""

from sqlalchemy import Connection

from kernex.domain.device import State
from kernex.server.store import bundles, deployments, devices
from kernex.server.store.bundles import Bundle
from kernex.server.store.deployments import Deployment
from kernex.server.store.devices import Device


def add_device(connection: Connection, number: int, *, state: State = State.ACCEPTED) -> Device:
    """Device number N: `device-N`, accepted."""
    devices.add(
        connection,
        {
            "device_id": f"device-{number}",
            "thumbprint": f"thumbprint-{number}",
            "public_key": "PEM",
            "state": state.value,
            "device_type": None,
            "hardware_metadata": "{}",
            "labels": "{}",
            "registered_ms": number,
        },
    )
    return devices.get(connection, f"device-{number}")


def add_bundle(connection: Connection, version: str = "1.0.0", name: str = "vad") -> Bundle:
    return bundles.add(
        connection,
        {
            "bundle_id": f"bundle-{name}-{version}",
            "name": name,
            "version": version,
            "digest": "d" * 64,
            "checksum_sha256": "c" * 64,
            "size_bytes": 3,
            "manifest": f'{{"version": "{version}"}}',
            "created_by": "test",
            "created_ms": 1,
        },
    )


def add_deployment(
    connection: Connection, bundle: Bundle, waves: dict[int, list[Device]], *, open_waves: int = 1, name: str = "first"
) -> Deployment:
    """A running deployment whose wave N has these devices."""
    row = deployments.add(
        connection,
        {
            "deployment_id": f"deployment-{name}",
            "bundle": bundle.id,
            "app": bundle.name,
            "state": "running",
            "selector": None,
            "waves": '["100%"]',
            "max_failures": "0",
            "open_waves": open_waves,
            "created_by": "test",
            "created_ms": 1,
        },
    )
    shares = [(device.id, wave) for wave, members in waves.items() for device in members]
    deployments.assign(connection, row, shares, now_ms=1)
    return deployments.get(connection, f"deployment-{name}")
