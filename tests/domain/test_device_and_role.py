"""Who is online, and who may do what."""

import pytest

from kernex.domain.device import OVERDUE_INTERVALS, is_online
from kernex.domain.role import GRANTS, Permission, Role


@pytest.mark.parametrize(
    ("silent_s", "online"), [(0, True), (60, True), (60 * OVERDUE_INTERVALS, True), (60 * OVERDUE_INTERVALS + 1, False)]
)
def test_a_device_is_online_until_it_missed_a_few_heartbeats(silent_s: float, online: bool) -> None:
    assert is_online(1000.0, 60.0, 1000.0 + silent_s) is online


def test_a_device_that_was_never_heard_of_is_not_online() -> None:
    assert not is_online(None, 60.0, 1000.0)


def test_every_role_is_in_the_table_and_every_permission_is_granted_to_somebody() -> None:
    assert set(GRANTS) == set(Role)
    assert frozenset().union(*GRANTS.values()) == set(Permission)


def test_everybody_may_look_and_only_an_admin_may_do_everything() -> None:
    assert all(Permission.READ in granted for granted in GRANTS.values())
    assert [role for role, granted in GRANTS.items() if granted == set(Permission)] == [Role.ADMIN]


def test_whoever_publishes_bundles_does_not_deploy_them() -> None:
    assert Permission.DEPLOY not in GRANTS[Role.PUBLISHER]
    assert Permission.PUBLISH not in GRANTS[Role.OPERATOR]
    assert GRANTS[Role.VIEWER] == {Permission.READ}
