"""Text from outside, made fit to store and show. Devices and operators may both be hostile."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kernex.domain.errors import RejectedError
from kernex.wire import limits


def clean(text: str, longest: int = 1024) -> str:
    """Without control characters, which terminals obey and PostgreSQL refuses; newlines and tabs stay."""
    kept = "".join(char for char in text[:longest] if char in "\n\t" or char.isprintable())
    return kept if len(text) <= longest else kept + "…"


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def check_metadata(what: str, value: Mapping[str, Any]) -> None:
    """Refuse free-form data of a device that is larger or deeper than anybody needs."""
    size = len(msgspec.json.encode(value))
    if size > limits.METADATA_BYTES:
        raise RejectedError(f"cannot take {what} of {size} bytes: {limits.METADATA_BYTES} at most")
    if _depth(value) > limits.METADATA_DEPTH:
        raise RejectedError(f"cannot take {what} nested deeper than {limits.METADATA_DEPTH}")


def cursor(text: str | None) -> int:
    """Where a page starts: what `next` of the page before said."""
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise RejectedError("cannot read the page cursor: pass `next` of the page before as it was")
    return int(text)


def _depth(value: Any, reached: int = 0) -> int:
    if reached > limits.METADATA_DEPTH or not isinstance(value, dict | list):
        return reached
    children = value.values() if isinstance(value, dict) else value
    return max((_depth(child, reached + 1) for child in children), default=reached + 1)
