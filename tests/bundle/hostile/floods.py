"""Archives that are small and keep their reader busy; at the end of each is something to be refused."""

import zstandard
from tests.bundle.crafted import END, GOOD, Hostile, extension, gzip_of, head, raw, record, skippable, zst, zstd_of

MOST = 49_000  # members: just below the cap
EVIL = head(b"../victim/pwn")
EVIL_LINK = head(b"zz", b"2", at157=b"../victim")
DEEP = b"a/" * 31

_ACCENTS = "/".join(["\u1e69" * 10] * 31).encode()  # a letter that comes apart in three
_MARKS = "a" + "\u0315\u0334" * 63  # marks that are sorted, as many as a name can hold


def _named(name: bytes, kind: bytes) -> bytes:
    return extension(b"L", name + b"\0") + head(b"long", kind)


FLOODS: Hostile = {
    "one_directory_again_and_again": (lambda: raw(head(DEEP + b"d/", b"5") * MOST, EVIL), "'..' between slashes"),
    "one_directory_that_folds_slowly": (
        lambda: raw(_named(_ACCENTS, b"5") * (MOST // 2), EVIL),
        "'..' between slashes",
    ),
    "directories_that_fold_slowly": (
        lambda: raw(
            *[_named("/".join([f"{number:05}", *[_MARKS] * 3]).encode(), b"5") for number in range(9000)],
        ),
        "names take more than 8388608 bytes",
    ),
    "deep_directories": (
        lambda: raw(*[head(DEEP + b"%05d" % number, b"5") for number in range(MOST)], EVIL),
        "'..' between slashes",
    ),
    "many_files": (lambda: raw(*[head(b"f%05d" % number) for number in range(15_000)], EVIL), "'..' between slashes"),
    "more_names_than_headers": (
        lambda: raw(*[head(b"%05d/d" % number, b"5") for number in range(30_000)]),
        "more than 50000 names",
    ),
    "long_names": (
        lambda: raw(*[_named(b"%05d/" % number + b"n" * 250 + b"/" + b"n" * 250, b"5") for number in range(20_000)]),
        "names take more than",
    ),
    "links_that_go_far": (
        lambda: raw(*[head(b"l%05d" % n, b"2", at157=DEEP + b"x") for n in range(MOST)], EVIL_LINK),
        "outside of the bundle",
    ),
    "links_that_go_up_and_down": (
        lambda: raw(*[head(b"d/l%05d" % n, b"2", at157=b"../e/" * 15 + b"x") for n in range(MOST)], EVIL_LINK),
        "outside of the bundle",
    ),
    "links_that_fold_slowly": (
        lambda: raw(*[extension(b"K", _ACCENTS + b"\0") + head(b"l%05d" % n, b"2") for n in range(8000)], EVIL_LINK),
        "outside of the bundle",
    ),
    "extensions_without_meaning": (
        lambda: raw(extension(b"x", record("comment", "A" * 400)) * MOST, EVIL),
        "'..' between slashes",
    ),
    "extensions_of_the_largest_size": (
        lambda: raw(extension(b"x", record("comment", "A" * 8100)) * MOST, EVIL),
        "times its size",
    ),
    "global_headers": (lambda: raw(extension(b"g", record("comment", "x")) * 50_001), "more than 50000 headers"),
    "records_of_one_letter": (
        lambda: raw(extension(b"x", b"".join(record(f"{n:x}", "") for n in range(900))), head()),
        "uses '0'",
    ),
    "gzip_members_of_nothing": (
        lambda: gzip_of([GOOD]) + gzip_of([]) * 100_000 + gzip_of([EVIL]),
        "'..' between slashes",
    ),
    "gzip_members_of_one_byte": (
        lambda: gzip_of([GOOD + END]) + gzip_of([b"\0"]) * 50_000 + gzip_of([b"x"]),
        "follows the end",
    ),
    "zstd_frames_of_nothing": (
        lambda: zst(GOOD) + zstd_of([], window_log=27) * 200_000 + zst(EVIL),
        "'..' between slashes",
    ),
    "zstd_frames_of_one_byte": (
        lambda: zst(GOOD + END) + zstandard.compress(b"\0") * 100_000 + zstandard.compress(b"x"),
        "follows the end",
    ),
    "zstd_skippable_frames": (lambda: zst(GOOD) + skippable(b"") * 200_000 + zst(EVIL), "'..' between slashes"),
    "zstd_window_of_the_largest_size": (
        lambda: zstd_of([GOOD, head(b"big", size=60 << 20), b"\0" * (60 << 20), EVIL], window_log=27),
        "'..' between slashes",
    ),
    "zeros_behind_the_end": (lambda: raw(end=b"\0" * (60 << 20) + b"x"), "follows the end"),
    "zeros_behind_gzip": (lambda: gzip_of([GOOD, END]) + b"\0" * (60 << 20) + b"x", "damaged"),
}
