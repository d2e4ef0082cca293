"""Caps on everything that a bundle can make its reader do. Publisher, control plane and device keep the same ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Whoever needs another cap passes another instance; `LIMITS` is what Kernex uses."""

    manifest_bytes: int = 1 << 20
    manifest_depth: int = 16  # nested arrays and objects
    descriptor_bytes: int = 16 << 20

    members: int = 50_000  # headers in the archive, and names in the tree with every directory above them
    names_bytes: int = 8 << 20  # of all paths and link targets together
    path_bytes: int = 1024
    component_bytes: int = 255
    path_depth: int = 32  # components
    extension_bytes: int = 8192  # of one extension header (a long name, PAX records)

    file_bytes: int = 64 << 30
    installed_bytes: int = 128 << 30
    window_bytes: int = 128 << 20  # memory that a zstd frame may ask for
    ratio: int = 200  # bytes out per byte in, once `ratio_free_bytes` are out
    ratio_free_bytes: int = 64 << 20


LIMITS = Limits()
