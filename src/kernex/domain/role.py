"""Roles: what an operator may do. One table; every route names the permission that it needs."""

from enum import StrEnum


class Permission(StrEnum):
    READ = "read"  #: see devices, bundles and deployments
    MANAGE_DEVICES = "manage devices"  #: approve, revoke, label
    PUBLISH = "publish bundles"  #: upload
    DEPLOY = "deploy"  #: start and abort deployments
    ENROL = "create enrolment keys"  #: let new devices in


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    PUBLISHER = "publisher"
    ADMIN = "admin"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.MANAGE_DEVICES, Permission.DEPLOY}),
    Role.PUBLISHER: frozenset({Permission.READ, Permission.PUBLISH}),
    Role.ADMIN: frozenset(Permission),
}
