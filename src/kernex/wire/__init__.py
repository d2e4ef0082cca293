"""What travels between devices, operators and the control plane. Version 1.

The promise of compatibility: within v1 a field is only ever added, never renamed, retyped or removed.
Devices ignore fields that they do not know and report commands that they do not know; operator requests
forbid unknown fields, because a misspelt option must not be lost. ``tests/wire/golden/v1`` is only
added to.
"""
