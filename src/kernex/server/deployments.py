"""Deployments begin and are stopped. How they go on is `kernex.server.reconciler`."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from kernex.domain import deployment as domain
from kernex.domain import device as device_domain
from kernex.domain.assignment import ACTIVE
from kernex.domain.deployment import Strategy
from kernex.domain.errors import RejectedError
from kernex.domain.selector import Selector
from kernex.server.access import Operator
from kernex.server.clock import Clock, milliseconds
from kernex.server.settings import Settings
from kernex.server.store import bundles, devices, events
from kernex.server.store import deployments as rows
from kernex.server.store.database import Connection, Database
from kernex.server.store.deployments import Assignment, Deployment, Tally
from kernex.server.store.devices import Device
from kernex.server.text import cursor, json_text
from kernex.server.wakeups import Wakeups
from kernex.wire.operator import DeploymentRequest, StrategyRequest


@dataclass(frozen=True, slots=True)
class Standing:
    """A deployment and its counts: `tallies[wave][state]`, waves numbered from 1."""

    deployment: Deployment
    tallies: dict[int, Tally]

    @property
    def settled(self) -> bool:
        """Nothing here will change again: it ended and no device is at work any more."""
        active = any(tally.get(state, 0) for tally in self.tallies.values() for state in ACTIVE)
        return self.deployment.state.final and not active


class Deployments:
    """The use cases around deployments. Each is one transaction."""

    def __init__(self, database: Database, wakeups: Wakeups, settings: Settings, clock: Clock) -> None:
        self._database, self._wakeups, self._settings, self._clock = database, wakeups, settings, clock

    def create(self, request: DeploymentRequest, operator: Operator) -> Deployment:
        """Start a deployment: every target has its assignment and the first wave is open."""
        asked = request.strategy or StrategyRequest()
        strategy = Strategy.parse(asked.waves, asked.max_failures)
        now_ms = milliseconds(self._clock)
        with self._database.write() as connection:
            if request.bundle_id is not None:
                bundle = bundles.get(connection, request.bundle_id)
            elif request.bundle_version is not None:
                bundle = bundles.by_version(connection, request.bundle_version, request.name)
            else:
                raise RejectedError("cannot deploy nothing: name a bundle by bundle_id or bundle_version")
            targets = self._targets(connection, request)
            sizes = strategy.sizes(len(targets))
            deployment_id = str(uuid.uuid4())
            row = rows.add(
                connection,
                {
                    "deployment_id": deployment_id,
                    "bundle": bundle.id,
                    "app": bundle.name,
                    "state": domain.State.RUNNING.value,
                    "selector": request.selector,
                    "waves": json_text([str(share) for share in strategy.waves]),
                    "max_failures": str(strategy.max_failures),
                    "open_waves": 1,
                    "created_by": operator.name,
                    "created_ms": now_ms,
                },
            )
            waves = [number for number, size in enumerate(sizes, start=1) for _ in range(size)]
            rows.assign(connection, row, zip((one.id for one in targets), waves, strict=True), now_ms=now_ms)
            made = rows.get(connection, deployment_id)
            rows.supersede(connection, made, 1, actor=operator.name, now_ms=now_ms)
            told = events.Event(
                kind="deployment.created",
                actor=operator.name,
                deployment=row,
                detail={"bundle": str(bundle.ref), "targets": len(targets)},
            )
            events.record(connection, [told], now_ms=now_ms)
        self._wakeups.poke()
        return made

    def abort(self, deployment_id: str, operator: Operator) -> Standing:
        """Touch no further device; devices that are at work are asked to stop. Twice is once."""
        now_ms = milliseconds(self._clock)
        with self._database.write() as connection:
            one = rows.get(connection, deployment_id)
            if domain.after(one.state, domain.Event.ABORT) is not one.state:
                end_early(connection, one, f"aborted by {operator.name}", actor=operator.name, now_ms=now_ms)
            standing = self._standing(connection, rows.get(connection, deployment_id))
        self._wakeups.poke()
        return standing

    def page(self, *, before: str | None, limit: int) -> tuple[list[Standing], str | None]:
        """The newest first, and where the next page starts."""
        with self._database.read() as connection:
            found = rows.page(connection, before=cursor(before) or None, limit=limit + 1)
            tallies = rows.tallies(connection, [one.id for one in found[:limit]])
        standings = [Standing(one, tallies[one.id]) for one in found[:limit]]
        return standings, str(found[limit - 1].id) if len(found) > limit else None

    def show(self, deployment_id: str) -> Standing:
        with self._database.read() as connection:
            return self._standing(connection, rows.get(connection, deployment_id))

    def assignments(self, deployment_id: str, *, after: str | None, limit: int) -> tuple[list[Assignment], str | None]:
        with self._database.read() as connection:
            one = rows.get(connection, deployment_id)
            found = rows.assignment_page(connection, one, after=cursor(after), limit=limit + 1)
        return found[:limit], str(found[limit - 1].id) if len(found) > limit else None

    @staticmethod
    def _standing(connection: Connection, one: Deployment) -> Standing:
        return Standing(one, rows.tallies(connection, [one.id])[one.id])

    def _targets(self, connection: Connection, request: DeploymentRequest) -> list[Device]:
        """The devices, those that are online first: a canary that is away tells nothing."""
        if (request.target_device_ids is None) == (request.selector is None):
            raise RejectedError("cannot choose devices: give either target_device_ids or a selector")
        if request.target_device_ids is not None:
            found = _by_id(connection, request.target_device_ids)
        else:
            selector = Selector.parse(request.selector or "")
            found = [
                one
                for one in devices.everyone(connection)
                if one.state is device_domain.State.ACCEPTED
                and selector.matches(device_domain.properties(one.facts, one.labels))
            ]
            if not found:
                raise RejectedError(f"cannot deploy to {selector}: no accepted device matches")
        now, interval_s = self._clock(), self._settings.heartbeat_interval_s
        return sorted(found, key=lambda one: not device_domain.is_online(one.seen_s, interval_s, now))


def end_early(connection: Connection, one: Deployment, reason: str, *, actor: str, now_ms: int) -> None:
    """Abort inside the caller's transaction: the deployment, and what its devices were still to do."""
    rows.end(connection, one, domain.Event.ABORT, reason=reason, now_ms=now_ms)
    rows.withdraw(connection, one, actor=actor, now_ms=now_ms)
    told = events.Event(kind="deployment.aborted", actor=actor, deployment=one.id, detail={"reason": reason})
    events.record(connection, [told], now_ms=now_ms)


def _by_id(connection: Connection, device_ids: Sequence[str]) -> list[Device]:
    wanted = list(dict.fromkeys(device_ids))
    if not wanted:
        raise RejectedError("cannot deploy to no device: target_device_ids is empty")
    found = {one.device_id: one for one in devices.named(connection, wanted)}
    for device_id in wanted:
        if device_id not in found:
            raise RejectedError(f"cannot deploy to {device_id[:64]}: there is no such device")
        if (state := found[device_id].state) is not device_domain.State.ACCEPTED:
            raise RejectedError(f"cannot deploy to {device_id}: it is {state}, not accepted")
    return [found[device_id] for device_id in wanted]
