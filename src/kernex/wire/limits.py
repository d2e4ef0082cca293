"""Caps on everything that comes from the network. Both ends keep them. Units in the names."""

HEARTBEAT_BYTES = 64 * 1024
JSON_BYTES = 1024 * 1024  # any other JSON request or answer
METADATA_BYTES = 16 * 1024  # facts or hardware metadata, as JSON
METADATA_DEPTH = 8
DESCRIPTOR_BYTES = 16 * 1024 * 1024
ERROR_CHARACTERS = 4096  # of a device's error message; the rest is cut
PUBLIC_KEY_CHARACTERS = 2048
PROOF_CHARACTERS = 4096
VERB_CHARACTERS = 64  # of a command's name
METRICS = 64  # of one probe
PAGE_ITEMS = 500
PAGE_BYTES = 128 * 1024 * 1024  # of a page as a client takes it: 100 manifests of the largest size fit
