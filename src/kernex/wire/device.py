"""The conversation between a device and the control plane.

State travels, not events: a heartbeat says where every app and every unfinished or unacknowledged
install is, and the answer says what to do, computed anew. A 2xx acknowledges everything in the request:
what it carried is durable.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kernex.domain.install import Phase
from kernex.wire import limits

DeviceId = Annotated[str, Meta(max_length=64)]
ErrorText = Annotated[str, Meta(max_length=4 * limits.ERROR_CHARACTERS)]
Metrics = Annotated[dict[Annotated[str, Meta(max_length=128)], float], Meta(max_length=limits.METRICS)]


class Registration(Struct, omit_defaults=True):
    """``POST /devices/register``. `public_key` is SubjectPublicKeyInfo in PEM (Ed25519 or P-256);
    `proof` is a compact JWS by that key, see `kernex.trust.assertion`."""

    public_key: Annotated[str, Meta(min_length=1, max_length=limits.PUBLIC_KEY_CHARACTERS)]
    proof: Annotated[str, Meta(max_length=limits.PROOF_CHARACTERS)] = ""
    enrolment_key: Annotated[str, Meta(max_length=256)] | None = None
    device_type: Annotated[str, Meta(max_length=128)] | None = None
    hardware_metadata: dict[str, Any] = {}


class Registered(Struct):
    """201. `status` is ``accepted`` or ``pending``."""

    device_id: str
    status: str


class AccessToken(Struct):
    """RFC 6749 §5.1. `expires_in` is in seconds from now, so no clock has to agree."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme


class AppReport(Struct, omit_defaults=True):
    """What runs under one app name. `state` is ``running``, ``stopped`` or ``failing``."""

    name: Annotated[str, Meta(max_length=64)]
    version: Annotated[str, Meta(max_length=128)]
    digest: Annotated[str, Meta(max_length=64)]
    state: Annotated[str, Meta(max_length=16)] = "running"
    restarts: int = 0


class InstallReport(Struct, omit_defaults=True):
    """Where one install is; repeated until acknowledged when its phase is final."""

    deployment_id: DeviceId
    phase: Phase
    error: ErrorText | None = None
    metrics: Metrics = {}
    bytes_done: int = 0


class Heartbeat(Struct, omit_defaults=True):
    """``POST /devices/{device_id}/heartbeat``. Absent `facts`, `apps` and `installs` mean "as before"."""

    agent_version: Annotated[str, Meta(max_length=64)] = ""
    status: Annotated[str, Meta(max_length=32)] = "idle"
    cpu_pct: float | None = None
    memory_mb: float | None = None
    facts: dict[str, Any] | None = None
    apps: Annotated[list[AppReport], Meta(max_length=256)] | None = None
    installs: Annotated[list[InstallReport], Meta(max_length=64)] | None = None
    unknown_commands: Annotated[list[Annotated[str, Meta(max_length=limits.VERB_CHARACTERS)]], Meta(max_length=16)] = []


class Deploy(Struct, tag_field="type", tag="deploy"):
    """Make this bundle the running release of its app.

    `digest` is the SHA-256 of the descriptor, which names every file; `checksum_sha256` and `size_bytes`
    are of the archive.
    """

    deployment_id: str
    bundle_id: str
    bundle_name: str
    bundle_version: str
    digest: str
    checksum_sha256: str
    size_bytes: int


class Cancel(Struct, tag_field="type", tag="cancel"):
    """Stop this deployment's install if nothing was switched yet."""

    deployment_id: str


class Unknown(Struct):
    """A command of a newer control plane: reported, not obeyed. `type` is cut to what a heartbeat may report."""

    type: str = ""


Command = Deploy | Cancel
_COMMAND: msgspec.json.Decoder[Deploy | Cancel] = msgspec.json.Decoder(Deploy | Cancel)
_UNKNOWN = msgspec.json.Decoder(Unknown)


class HeartbeatReply(Struct, omit_defaults=True):
    """`next_heartbeat_s` is when to come back; `long_poll_s` above zero offers that a heartbeat with
    ``Prefer: wait=N`` (RFC 7240 §4.3, N up to it) is answered as soon as there is a command."""

    commands: list[Command]
    next_heartbeat_s: float
    long_poll_s: float = 0.0


class ReceivedReply(Struct):
    """A HeartbeatReply as a device reads it: commands stay raw until `read_command`."""

    commands: list[msgspec.Raw] = []
    next_heartbeat_s: float = 60.0
    long_poll_s: float = 0.0


class Result(Struct, omit_defaults=True):
    """``POST /deployments/{deployment_id}/result``: an outcome, sent at once. `status` is ``success`` or
    ``failed``; `outcome` refines the latter (``rolled_back``, ``broken``, ``cancelled``)."""

    device_id: DeviceId
    status: str
    error_message: ErrorText | None = None
    outcome: str | None = None
    metrics: Metrics = {}


class ResultAccepted(Struct):
    success: bool
    deployment_id: str


def read_command(raw: msgspec.Raw) -> Command | Unknown:
    """One command of a reply; Unknown where the verb, its fields or its shape are not of this version."""
    try:
        return _COMMAND.decode(raw)
    except msgspec.ValidationError:
        pass
    try:
        return Unknown(_UNKNOWN.decode(raw).type[: limits.VERB_CHARACTERS])
    except msgspec.ValidationError:
        return Unknown()
