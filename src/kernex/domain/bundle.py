"""Bundle: name + version + bytes. ``vad==1.4.0``. Immutable."""

import re
from dataclasses import dataclass
from typing import Self

from kernex.domain.errors import RejectedError

#: An app's name becomes a directory on devices and a role name in signed metadata.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
#: Semantic versions and everything people use in their place, but nothing that reads as a path.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,127}")
DEFAULT_NAME = "default"

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Digest(str):
    """A SHA-256 in lower-case hexadecimal. Making one parses or raises RejectedError."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not _SHA256.fullmatch(value):
            raise RejectedError(f"cannot use {value[:80]!r} as a digest: it is not 64 hexadecimal digits")
        return super().__new__(cls, value)

    @staticmethod
    def is_one(value: str) -> bool:
        return _SHA256.fullmatch(value) is not None

    @property
    def short(self) -> str:
        """Enough of it for a person to tell two apart."""
        return self[:12]


@dataclass(frozen=True, slots=True)
class BundleRef:
    """What people write for a bundle: ``name==version``."""

    name: str
    version: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise RejectedError(
                f"cannot use {self.name[:80]!r} as a bundle name: use lower-case letters, digits and '-', 64 at most"
            )
        if not VERSION.fullmatch(self.version) or ".." in self.version:
            raise RejectedError(
                f"cannot use {self.version[:80]!r} as a version: "
                "use letters, digits and . + - _, 128 at most, like 1.4.0"
            )

    @classmethod
    def parse(cls, text: str) -> "BundleRef":
        name, separator, version = text.partition("==")
        if not separator:
            raise RejectedError(f"cannot read {text[:80]!r} as a bundle: write NAME==VERSION, like vad==1.4.0")
        return cls(name.strip(), version.strip())

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"
