"""Archives whose manifest is the hostile part; `tests.bundle.test_manifest` has the reader's fine print."""

from tests.bundle.crafted import Hostile, file, plain, zst


def _says(manifest: bytes | str, *paths: str) -> bytes:
    content = manifest if isinstance(manifest, bytes) else manifest.encode()
    return zst(plain(file("manifest.json", content), *(file(path) for path in paths), manifest=False))


def _fields(fields: str, *paths: str) -> bytes:
    return _says(f'{{"version": "1", {fields}}}', *paths)


MANIFESTS: Hostile = {
    "manifest_empty": (lambda: _says(b""), "not JSON"),
    "manifest_of_a_script": (lambda: _says(b"#!/bin/sh\nrm -rf /\n"), "not JSON"),
    "manifest_not_utf8": (lambda: _says(b'{"version": "\xff"}'), "not UTF-8"),
    "manifest_in_utf_16": (lambda: _says('{"version": "1"}'.encode("utf-16")), "not UTF-8"),
    "manifest_too_large": (lambda: _fields('"model": "' + "x" * (1 << 20) + '"'), "larger than 1048576 bytes"),
    "manifest_nested": (lambda: _fields('"model": ' + "[" * 100_000 + "]" * 100_000), "nested deeper than 16"),
    "manifest_of_brackets_without_end": (lambda: _says(b"[" * (1 << 20)), "nested deeper than 16"),
    "manifest_of_quotes_without_end": (lambda: _says(b'{"' + b'\\"' * ((1 << 19) - 9)), "not JSON"),
    "manifest_of_empty_lists": (
        lambda: _fields('"version": "2", "model": [' + "[]," * 340_000 + "[]]"),
        "'version' twice",
    ),
    "manifest_of_many_keys": (
        lambda: _fields('"model": {' + "".join(f'"{n}":0,' for n in range(90_000)) + '"0":1}'),
        "'0' twice",
    ),
    "manifest_of_keys_twice": (lambda: _fields('"version": "2"'), "'version' twice"),
    "manifest_number_without_end": (lambda: _fields('"model": ' + "9" * 1_000_000), "out of range"),
    "manifest_number_beyond_64_bits": (lambda: _fields('"model": 9223372036854775808'), "too large"),
    "manifest_infinite": (lambda: _fields('"model": 1e999'), "not JSON"),
    "manifest_version_outside": (lambda: _says('{"version": "../../victim"}'), "as a version"),
    "manifest_version_with_an_escape": (lambda: _says('{"version": "1\\u001b[2J"}'), "as a version"),
    "manifest_name_outside": (lambda: _fields('"name": "../victim"'), "as a bundle name"),
    "manifest_script_outside": (lambda: _fields('"deploy": {"script": "../victim/pwn"}'), "cannot run '../victim/pwn'"),
    "manifest_script_absolute": (lambda: _fields('"deploy": {"script": "/bin/sh -c id"}'), "cannot run '/bin/sh'"),
    "manifest_script_with_a_nul": (lambda: _fields('"deploy": {"script": "a\\u0000b"}'), "cannot run"),
    "manifest_script_with_an_open_quote": (lambda: _fields('"deploy": {"script": "a \\"b"}'), "cannot split"),
    "manifest_script_missing": (lambda: _fields('"rollback": {"script": "gone.sh"}'), "is no file of it"),
    "manifest_script_a_directory": (lambda: _fields('"health": {"script": "bin"}', "bin/a"), "is no file of it"),
    "manifest_command_outside": (lambda: _fields('"run": {"command": ["../victim/pwn"]}'), "is no file of it"),
    "manifest_command_empty": (lambda: _fields('"run": {"command": []}'), "run.command"),
    "manifest_for_ever": (lambda: _fields('"deploy": {"script": "a", "timeout_s": 1e300}', "a"), "deploy.timeout_s"),
    "manifest_threshold_of_code": (
        lambda: _fields('"health": {"script": "a", "thresholds": {"x": "__import__(1)"}}', "a"),
        "read the threshold",
    ),
    "manifest_critical_unknown": (lambda: _fields('"critical": ["disable_sandbox"]'), "disable_sandbox"),
}
