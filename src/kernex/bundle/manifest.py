"""From the bytes of ``manifest.json`` to a `Manifest`, whoever wrote them."""

import json
import re
from typing import Any

import msgspec

from kernex.bundle.limits import LIMITS, Limits
from kernex.domain.errors import RejectedError
from kernex.domain.manifest import Manifest

MAX_INTEGER = 2**63 - 1  # what every database and every other JSON reader can hold

#: A string, or one bracket. Linear on any input: the quantifier gives nothing back, the closing quote may be missing.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def read(data: bytes, *, limits: Limits = LIMITS) -> Manifest:
    """The manifest, or RejectedError that says where (``$.health.thresholds``) and why it is refused.

    Fields that are not known are ignored, unless the manifest calls them critical.
    """
    if len(data) > limits.manifest_bytes:
        raise _refused(f"it is larger than {limits.manifest_bytes} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _refused(f"it is not UTF-8 (byte {error.start})") from None
    if _depth(text) > limits.manifest_depth:
        raise _refused(f"it is nested deeper than {limits.manifest_depth}")
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise _refused(f"it is not JSON: {error}") from None
    _look_twice(text)
    if not isinstance(document, dict):
        raise _refused("it is not an object: write {...} around it")
    try:
        return msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from None


def _look_twice(text: str) -> None:
    """Refuse what msgspec lets pass: of two equal keys it keeps the last, and integers have no bound."""
    json.loads(text, object_pairs_hook=_unique, parse_int=_bounded)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _refused(f"it has {key[:80]!r} twice in one object")
        result[key] = value
    return result


def _bounded(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > MAX_INTEGER:
        raise _refused(f"the number {digits[:20]}… is too large: integers have 64 bits")
    return int(digits)


def _depth(text: str) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def _refused(reason: str) -> RejectedError:
    return RejectedError(f"cannot read manifest.json: {reason}")
