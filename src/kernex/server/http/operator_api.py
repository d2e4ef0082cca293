"""What people call: devices, deployments, enrolment keys."""

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from kernex.domain.device import Event
from kernex.domain.role import Permission
from kernex.domain.selector import Selector
from kernex.server.access import Operator
from kernex.server.clock import Clock
from kernex.server.deployments import Deployments
from kernex.server.devices import Devices
from kernex.server.http import views
from kernex.server.http.policy import OPT, Anybody, Operators, at
from kernex.server.settings import Settings
from kernex.wire import limits, paths
from kernex.wire import operator as wire
from kernex.wire.operator import Page

Limit = Annotated[int, QueryParameter(ge=1, le=limits.PAGE_ITEMS)]
Caller = Request[Operator, Any, Any]


def _needs(permission: Permission) -> dict[str, Any]:
    return {OPT: Operators(permission)}


def device_routes(devices: Devices, settings: Settings, clock: Clock) -> list[HTTPRouteHandler]:
    """Devices and the keys that let them in."""
    interval_s = settings.heartbeat_interval_s

    @get(at(paths.DEVICES), opt=_needs(Permission.READ), sync_to_thread=True)
    def list_devices(
        selector: FromQuery[str] = "", after: FromQuery[str | None] = None, limit: Limit = 100
    ) -> Page[wire.DeviceSummary]:
        """Devices that match, in the order of their registration."""
        found, following = devices.page(selector=Selector.parse(selector), after=after, limit=limit)
        return Page([views.device(one, interval_s=interval_s, now=clock()) for one in found], following)

    @get(at(paths.DEVICE), opt=_needs(Permission.READ), sync_to_thread=True)
    def show_device(device_id: FromPath[str]) -> wire.DeviceDetail:
        """One device: its facts, what runs on it, what it owes."""
        one, owed = devices.detail(device_id)
        return views.device_detail(one, owed, interval_s=interval_s, now=clock())

    @post(at(paths.APPROVE), opt=_needs(Permission.MANAGE_DEVICES), status_code=200, sync_to_thread=True)
    def approve_device(device_id: FromPath[str], request: Caller) -> wire.DeviceSummary:
        """Let a pending device in."""
        return views.device(devices.admit(device_id, Event.APPROVE, request.user), interval_s=interval_s, now=clock())

    @post(at(paths.REVOKE), opt=_needs(Permission.MANAGE_DEVICES), status_code=200, sync_to_thread=True)
    def revoke_device(device_id: FromPath[str], request: Caller) -> wire.DeviceSummary:
        """Shut a device out for good."""
        return views.device(devices.admit(device_id, Event.REVOKE, request.user), interval_s=interval_s, now=clock())

    @post(at(paths.ENROLMENT_KEYS), opt=_needs(Permission.ENROL), sync_to_thread=True)
    def create_key(data: JSONBody[wire.EnrolmentKeyRequest], request: Caller) -> wire.EnrolmentKeyCreated:
        """A key for new devices; shown once."""
        return devices.create_enrolment_key(data, request.user)

    @get(at(paths.ENROLMENT_KEYS), opt=_needs(Permission.ENROL), sync_to_thread=True)
    def list_keys(after: FromQuery[str | None] = None, limit: Limit = 100) -> Page[wire.EnrolmentKeySummary]:
        """Enrolment keys, without the keys themselves."""
        found, following = devices.enrolment_keys(after=after, limit=limit)
        return Page([views.enrolment_key(row) for row in found], following)

    return [list_devices, show_device, approve_device, revoke_device, create_key, list_keys]


def deployment_routes(deployments: Deployments) -> list[HTTPRouteHandler]:
    """Deployments and what each device owes them."""

    @post(at(paths.DEPLOYMENTS), opt=_needs(Permission.DEPLOY), sync_to_thread=True)
    def create_deployment(data: JSONBody[wire.DeploymentRequest], request: Caller) -> wire.DeploymentCreated:
        """Start a deployment; its first wave is open when this answers."""
        made = deployments.create(data, request.user)
        return wire.DeploymentCreated(made.deployment_id, made.state.value)

    @get(at(paths.DEPLOYMENTS), opt=_needs(Permission.READ), sync_to_thread=True)
    def list_deployments(after: FromQuery[str | None] = None, limit: Limit = 100) -> Page[wire.DeploymentSummary]:
        """Deployments, the newest first."""
        found, following = deployments.page(before=after, limit=limit)
        return Page([views.deployment(one) for one in found], following)

    @get(at(paths.DEPLOYMENT), opt=_needs(Permission.READ), sync_to_thread=True)
    def show_deployment(deployment_id: FromPath[str]) -> wire.DeploymentDetail:
        """One deployment with its waves."""
        return views.deployment_detail(deployments.show(deployment_id))

    @get(at(paths.ASSIGNMENTS), opt=_needs(Permission.READ), sync_to_thread=True)
    def list_assignments(
        deployment_id: FromPath[str], after: FromQuery[str | None] = None, limit: Limit = 100
    ) -> Page[wire.AssignmentReport]:
        """What each device owes the deployment."""
        found, following = deployments.assignments(deployment_id, after=after, limit=limit)
        return Page([views.assignment(one) for one in found], following)

    @post(at(paths.ABORT), opt=_needs(Permission.DEPLOY), status_code=200, sync_to_thread=True)
    def abort_deployment(deployment_id: FromPath[str], request: Caller) -> wire.DeploymentDetail:
        """Touch no further device."""
        return views.deployment_detail(deployments.abort(deployment_id, request.user))

    return [create_deployment, list_deployments, show_deployment, list_assignments, abort_deployment]


def health_routes() -> list[HTTPRouteHandler]:
    """For load balancers and people with curl."""

    @get(at(paths.HEALTH), opt={OPT: Anybody()}, sync_to_thread=False)
    def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    return [health]
