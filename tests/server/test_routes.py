"""Every route says who may call it, and the framework asks before it reads a byte."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from litestar.handlers import HTTPRouteHandler
from tests.control_plane import ControlPlane

from kernex.domain.role import GRANTS, Permission, Role
from kernex.server.app import ControlPlane as App
from kernex.server.app import create_app
from kernex.server.http import heartbeat
from kernex.server.http.policy import OPT, Anybody, Devices, DevicesOr, Operators
from kernex.server.settings import Settings
from kernex.wire import paths

POLICIES = (Anybody, Devices, DevicesOr, Operators)
#: What a stranger may call. A new route that belongs here is a decision, so it is named here too.
DOCUMENTATION = {paths.OPENAPI, "/openapi", "/openapi/{path}"}
PUBLIC = {paths.REGISTER, paths.TOKEN, paths.HEALTH} | DOCUMENTATION


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("app")))


def handlers(app: App) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.framework.routes:
        for handler in getattr(route, "route_handlers", []):
            if handler.http_methods != {"OPTIONS"}:  # Litestar's own: it has no policy, so the guard refuses it
                yield route.path_format, handler


def test_every_route_names_a_policy(app: App) -> None:
    seen = list(handlers(app))
    assert len(seen) >= 19
    without = [path for path, handler in seen if not isinstance(handler.opt.get(OPT), POLICIES)]
    assert without == []
    assert isinstance(heartbeat.POLICY, Devices)


def test_strangers_may_call_only_what_is_named_here(app: App) -> None:
    assert {path for path, handler in handlers(app) if isinstance(handler.opt.get(OPT), Anybody)} == PUBLIC


def test_every_path_of_the_wire_is_served(app: App) -> None:
    served = {path for path, _ in handlers(app)} - DOCUMENTATION | {paths.HEARTBEAT, paths.OPENAPI}
    wire = {value for name, value in vars(paths).items() if name.isupper() and name != "API"}
    assert wire == served


def test_every_permission_is_asked_for_somewhere(app: App) -> None:
    asked = {
        policy.permission
        for _, handler in handlers(app)
        if isinstance(policy := handler.opt.get(OPT), Operators | DevicesOr)
    }
    assert asked == set(Permission)


def call(client: httpx2.Client, path: str, method: str) -> int:
    filled = path.format(device_id="none", deployment_id="none", bundle_id="none", path="none")
    return client.request(method, filled, json={}).status_code


@pytest.mark.parametrize("role", list(Role))
def test_a_role_reaches_exactly_what_the_table_grants(control_plane: ControlPlane, app: App, role: Role) -> None:
    with control_plane.with_role(role.value) as client:
        for path, handler in handlers(app):
            policy = handler.opt[OPT]
            for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                code = call(client, path, method)
                if isinstance(policy, Operators | DevicesOr):
                    granted = policy.permission in GRANTS[role]
                    assert (code == 403) is not granted, f"{role} {method} {path}: {code}"
                elif isinstance(policy, Devices):
                    assert code == 401, f"{role} {method} {path}: {code}"


def test_a_stranger_gets_401_everywhere_else(control_plane: ControlPlane, app: App) -> None:
    with control_plane.anonymous() as nobody:
        for path, handler in handlers(app):
            if path not in PUBLIC:
                for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                    assert call(nobody, path, method) == 401, f"{method} {path}"


def test_a_route_without_a_policy_is_closed(control_plane: ControlPlane) -> None:
    answer = control_plane.operator.options(paths.DEVICES)
    assert answer.status_code == 403
    assert "names no policy" in answer.json()["detail"]


def test_a_device_is_no_operator(control_plane: ControlPlane, app: App) -> None:
    device = control_plane.device(control_plane.enrolment_key())
    for path, handler in handlers(app):
        if isinstance(handler.opt[OPT], Operators):
            for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                assert call(device.http, path, method) == 401, f"{method} {path}"


@pytest.mark.parametrize("path", ["/", "/api", "/api/v2/devices", "/api/v1/devices/x/y/z", "/etc/passwd"])
def test_unknown_paths_are_problems_too(control_plane: ControlPlane, path: str) -> None:
    answer = control_plane.operator.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("hostile", ["%00", "a%00b", "%ff", "..%2f..", "%F0%9F%92%A5", "x" * 5000])
def test_a_hostile_id_in_a_path_is_no_accident(database_url: str, tmp_path: Path, hostile: str) -> None:
    with ControlPlane.started(tmp_path / "server", database_url=database_url) as server:
        for path in (paths.DEVICE, paths.BUNDLE, paths.DESCRIPTOR, paths.DEPLOYMENT, paths.ASSIGNMENTS):
            filled = path.format(device_id=hostile, bundle_id=hostile, deployment_id=hostile)
            assert server.operator.get(filled).status_code in (400, 404), filled
        listed = server.operator.get(f"{paths.BUNDLES}?name={hostile}&version={hostile}&after={hostile}")
        assert listed.status_code in (200, 400)


def test_an_accident_says_nothing_about_the_inside(tmp_path: Path) -> None:
    from kernex.server.http.problems import problem_of  # noqa: PLC0415 - beside the one test that needs it

    problem, _ = problem_of(ZeroDivisionError(f"secret at {tmp_path}"))
    assert problem.status == 500
    assert "secret" not in problem.detail


def test_the_app_can_be_built_twice_in_one_process(tmp_path: Path) -> None:
    async def lifespan(app: App) -> None:
        async with app.framework.lifespan():
            await asyncio.sleep(0.05)

    for _ in range(2):
        asyncio.run(lifespan(create_app(Settings(data_dir=tmp_path / "same"))))
