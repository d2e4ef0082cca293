"""What operators ask and get: the CLI's and the web page's half of the wire.

Times are RFC 3339 in UTC. Lists come in keyset pages: pass `next` of one page as `after` of the next.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct, field

T = TypeVar("T")


class Page(Struct, Generic[T]):
    items: list[T]
    next: str | None = None


class DeviceSummary(Struct):
    """`status` is the admission (pending, accepted, revoked); `online` is derived from the last heartbeat."""

    device_id: str
    status: str
    online: bool
    device_type: str | None
    labels: dict[str, str]
    fingerprint: str
    registered_at: datetime
    last_heartbeat: datetime | None
    agent_version: str
    apps: dict[str, str]  # app name -> version that runs


class DeviceAssignment(Struct):
    deployment_id: str
    bundle: str  # name==version
    state: str
    error_message: str | None
    updated_at: datetime


class DeviceDetail(DeviceSummary):
    facts: dict[str, Any]
    hardware_metadata: dict[str, Any]
    activity: str  # what the device said that it is doing
    cpu_pct: float | None
    memory_mb: float | None
    assignments: list[DeviceAssignment]  # the newest first, 20 at most


class BundleUploaded(Struct):
    bundle_id: str
    name: str
    version: str
    checksum_sha256: str
    digest: str


class BundleSummary(BundleUploaded):
    size_bytes: int
    created_at: datetime
    model_name: str | None
    manifest: dict[str, Any]


class StrategyRequest(Struct, forbid_unknown_fields=True):
    """`waves` are cumulative counts or percentages and end with ``100%``."""

    waves: list[str | int] = field(default_factory=lambda: ["100%"])
    max_failures: str | int = 0


class DeploymentRequest(Struct, forbid_unknown_fields=True):
    """Name the bundle by `bundle_id`, or by `bundle_version` (and `name` where several apps have that
    version); name the devices by `target_device_ids` or by `selector`."""

    bundle_id: str | None = None
    bundle_version: str | None = None
    name: str | None = None
    target_device_ids: list[str] | None = None
    selector: str | None = None
    strategy: StrategyRequest | None = None


class DeploymentCreated(Struct):
    deployment_id: str
    status: str


class WaveReport(Struct):
    number: int
    size: int
    open: bool
    tally: dict[str, int]


class DeploymentSummary(Struct):
    """`settled`: no device is at work any more, so nothing here will change again."""

    deployment_id: str
    bundle_id: str
    bundle: str  # name==version
    status: str
    reason: str | None
    settled: bool
    targets: int
    tally: dict[str, int]
    created_by: str
    created_at: datetime
    finished_at: datetime | None


class DeploymentDetail(DeploymentSummary):
    selector: str | None
    max_failures: str
    waves: list[WaveReport]


class AssignmentReport(Struct):
    device_id: str
    wave: int
    state: str
    phase: str | None
    error_message: str | None
    metrics: dict[str, float]
    updated_at: datetime


class EnrolmentKeyRequest(Struct, forbid_unknown_fields=True):
    labels: dict[Annotated[str, Meta(max_length=63)], Annotated[str, Meta(max_length=255)]] = {}
    uses: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    expires_s: Annotated[int, Meta(ge=1, le=366 * 86400)] = 86400
    auto_approve: bool = False


class EnrolmentKeyCreated(Struct):
    """The only time that `key` is shown: the server keeps its hash."""

    key_id: str
    key: str
    expires_at: datetime


class EnrolmentKeySummary(Struct):
    key_id: str
    labels: dict[str, str]
    uses_left: int
    auto_approve: bool
    created_by: str
    created_at: datetime
    expires_at: datetime
