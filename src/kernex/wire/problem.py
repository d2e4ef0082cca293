"""The one body of every error: RFC 9457, ``application/problem+json``."""

import msgspec

MEDIA_TYPE = "application/problem+json"

#: `error` codes that a device acts on (RFC 6749 §5.2, RFC 9449 §8).
USE_NONCE = "use_nonce"
INVALID_CLIENT = "invalid_client"
PENDING_APPROVAL = "pending_approval"
#: The header that hands out the next nonce (RFC 8555 §6.5).
NONCE_HEADER = "Replay-Nonce"
#: The header that names the control plane whom an assertion is meant for.
ISSUER_HEADER = "Kernex-Issuer"


class Problem(msgspec.Struct, omit_defaults=True):
    """What went wrong, for people (`title`, `detail`) and for programs (`status`, `error`).

    `device_id` is set in the one answer that needs it: a proven key that is registered already.
    """

    title: str
    status: int
    detail: str = ""
    error: str | None = None
    device_id: str | None = None
    type: str = "about:blank"
