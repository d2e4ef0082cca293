"""Archives that a bundle reader must refuse, each with the words that it must refuse it with.

Every one starts with a good manifest, so that nothing but the hostile part can be the reason.
"""

import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import zstandard

MANIFEST = ("manifest.json", b'{"version": "1.0.0"}')
DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

Hostile = dict[str, tuple[Callable[[], bytes], str]]


def file(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def special(name: str, kind: bytes, target: str = "", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", type=kind, linkname=target, **fields)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return special(name, LINK, target)


def plain(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT, manifest: bool = True) -> bytes:
    """An uncompressed archive by Python's own writer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in (*([file(*MANIFEST)] if manifest else []), *members):
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data)


def packed(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    return zst(plain(*members, form=form))


def head(name: bytes = b"a", kind: bytes = b"0", size: int = 0, **fields: bytes) -> bytes:
    """A header block with a right checksum, whatever is in it. `fields`: at0=, at124=, ... replace bytes there."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    for where, value in fields.items():
        start = int(where.removeprefix("at"))
        block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


END = b"\0" * 1024
GOOD = head(b"manifest.json", size=len(MANIFEST[1])) + padded(MANIFEST[1])


def raw(*pieces: bytes, end: bytes = END) -> bytes:
    return zst(GOOD + b"".join(pieces) + end)


def extension(kind: bytes, data: bytes) -> bytes:
    return head(b"././@Extension", kind, len(data)) + padded(data)


def record(key: str, value: str | bytes) -> bytes:
    text = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
    length = len(text) + len(str(len(text)))
    length = len(text) + len(str(length))
    return str(length).encode() + text


def pax(key: str, value: str | bytes) -> bytes:
    return raw(extension(b"x", record(key, value)), head(b"a"))


def _steps(*after: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """CVE-2025-4517: links make a path short for the checker and longer than PATH_MAX for the kernel."""
    part, path, members = "d" * 247, "", []
    for step in "abcdefghijklmnop":
        members += [special(f"{path}{part}", DIRECTORY), link(f"{path}{step}", part)]
        path += f"{part}/"
    deep = "/".join("abcdefghijklmnop") + "/" + "l" * 254
    return packed(*members, link(deep, "../" * 16), link("escape", f"{deep}/../victim"), *after)


def _bomb(compress: Callable[[Iterator[bytes]], bytes]) -> bytes:
    size = 256 << 20
    mebibyte = b"\0" * (1 << 20)
    return compress(iter([GOOD, head(b"big", size=size), *([mebibyte] * (size >> 20)), END]))


def _gzip_stream(pieces: Iterator[bytes]) -> bytes:
    deflate = zlib.compressobj(9, wbits=31)
    return b"".join([deflate.compress(piece) for piece in pieces]) + deflate.flush()


def _zstd_stream(pieces: Iterator[bytes]) -> bytes:
    deflate = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join([deflate.compress(piece) for piece in pieces]) + deflate.flush()


def _wide_window() -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(GOOD + END) + stream.flush()


def _gzip(data: bytes) -> bytes:
    return _gzip_stream(iter([data]))


OUTSIDE: Hostile = {
    "dot_dot": (lambda: packed(file("../victim/pwn")), "'..' between slashes"),
    "dot_dot_in_the_middle": (lambda: packed(file("a/../../victim/pwn")), "'..' between slashes"),
    "dot_dot_at_the_end": (lambda: packed(file("a/..")), "'..' between slashes"),
    "dot_dot_directory": (lambda: packed(special("../victim/d", DIRECTORY)), "'..' between slashes"),
    "dot_slash_dot_dot": (lambda: packed(file("./../victim/pwn")), "'..' between slashes"),
    "dot_slash_slash": (lambda: packed(file(".//etc/pwn")), "absolute"),
    "absolute": (lambda: packed(file("/tmp/kernex-pwn")), "absolute"),
    "two_slashes": (lambda: raw(head(b"//tmp/kernex-pwn")), "absolute"),
    "absolute_by_prefix": (lambda: raw(head(b"pwn", at345=b"/tmp")), "absolute"),
    "dot_dot_by_prefix": (lambda: raw(head(b"pwn", at345=b"../victim")), "'..' between slashes"),
    "dot_dot_by_pax": (lambda: pax("path", "../victim/pwn"), "'..' between slashes"),
    "dot_dot_by_gnu": (lambda: raw(extension(b"L", b"../victim/pwn\0"), head()), "'..' between slashes"),
    "backslashes": (lambda: packed(file("..\\..\\victim\\pwn")), "backslash"),
    "link_absolute": (lambda: packed(link("l", "/etc")), "absolute"),
    "link_absolute_then_write": (lambda: packed(link("l", "/tmp"), file("l/pwn")), "absolute"),
    "link_up_then_write": (lambda: packed(link("l", "../victim"), file("l/pwn")), "as a link"),
    "link_up": (lambda: packed(link("l", "../victim")), "outside of the bundle"),
    "link_up_from_a_directory": (lambda: packed(link("a/l", "../../victim")), "outside of the bundle"),
    "link_up_and_down": (lambda: packed(file("a/f"), link("a/l", "b/../../../victim")), "outside of the bundle"),
    "link_up_by_pax": (
        lambda: raw(extension(b"x", record("linkpath", "../victim")), head(b"l", b"2", at157=b"manifest.json")),
        "outside of the bundle",
    ),
    "link_up_by_gnu": (lambda: raw(extension(b"K", b"../victim\0"), head(b"l", b"2")), "outside of the bundle"),
    "link_to_the_top": (lambda: packed(link("a/l", "..")), "a directory that holds it"),
    "link_to_itself": (lambda: packed(link("l", "l")), "another link"),
    "link_to_nothing_said": (lambda: packed(link("l", "")), "it is empty"),
    "link_with_dot": (lambda: packed(link("l", "./manifest.json")), "'.' between slashes"),
    "link_with_two_slashes": (lambda: packed(link("l", "a//b")), "'' between slashes"),
    "link_with_newline": (lambda: packed(link("l", "a\nb")), "control character"),
    "link_through_a_link": (
        lambda: packed(file("d1/d2/f"), link("a", "d1/d2"), link("e", "a/../../../victim")),
        "another link",
    ),
    "link_to_a_link": (lambda: packed(link("a", "manifest.json"), link("b", "a")), "another link"),
    "link_to_a_link_in_other_case": (lambda: packed(link("A", "manifest.json"), link("b", "a/x")), "another link"),
    "link_loop": (lambda: packed(link("a", "b"), link("b", "a"), file("a/f")), "as a link"),
    "link_chain": (
        lambda: packed(special("a", DIRECTORY), link("a/b", ".."), link("a/b/c", "../victim"), file("a/b/c/pwn")),
        "as a link",
    ),
    "link_replaced_by_a_file": (lambda: packed(link("f", "../victim/keep"), file("f", b"new")), "as a link"),
    "link_over_a_directory": (
        lambda: packed(special("d", DIRECTORY), link("d", "../victim"), file("d/pwn")),
        "as a directory",
    ),
    "link_after_its_content": (lambda: packed(file("d/f"), link("d", "../victim")), "as a directory"),
    "link_then_directory": (lambda: packed(link("d", "../victim"), special("d", DIRECTORY)), "as a link"),
    "link_by_proc": (lambda: packed(link("l", "/proc/self/cwd/../victim"), file("l/pwn")), "absolute"),
    "hard_link_absolute": (lambda: packed(special("h", HARD, "/etc/passwd")), "hard link"),
    "hard_link_up": (lambda: packed(special("h", HARD, "../victim/keep"), file("h", b"new")), "hard link"),
    "hard_link_to_itself": (lambda: packed(special("h", HARD, "h")), "hard link"),
    "hard_link_inside": (lambda: packed(special("h", HARD, "manifest.json")), "hard link"),
    "cve_2025_4517_write": (lambda: _steps(file("escape/pwn")), "longer than 1024 bytes"),
    "cve_2025_4330": (
        lambda: packed(link("a/b/s", "../../victim"), special("s", HARD, "a/b/s"), file("s/pwn")),
        "hard link",
    ),
    "cve_2026_11940": (
        lambda: packed(link("a/s", "../victim"), special("victim", DIRECTORY), special("s", HARD, "a/s")),
        "hard link",
    ),
    "cve_2024_12718": (lambda: packed(link("x", "."), link("x", "../victim")), "'.' between slashes"),
}

KINDS: Hostile = {
    "character_device": (lambda: packed(special("null", tarfile.CHRTYPE, devmajor=1, devminor=3)), "character device"),
    "block_device": (lambda: packed(special("sda", tarfile.BLKTYPE, devmajor=254)), "block device"),
    "fifo": (lambda: packed(special("fifo", tarfile.FIFOTYPE)), "fifo"),
    "contiguous": (lambda: raw(head(kind=b"7")), "contiguous"),
    "unknown_kind": (lambda: raw(head(kind=b"Q")), "unknown type"),
    "vendor_kind": (lambda: raw(head(kind=b"D")), "unknown type"),
    "solaris_extension": (lambda: raw(extension(b"X", record("path", "b")), head()), "unknown type"),
    "old_sparse": (
        lambda: raw(head(kind=b"S", at257=b"ustar  \0", at483=b"\x80" + (1 << 40).to_bytes(11, "big"))),
        "sparse",
    ),
    "pax_sparse_1": (lambda: pax("GNU.sparse.realsize", str(1 << 40)), "GNU.sparse"),
    "pax_sparse_0": (lambda: pax("GNU.sparse.map", "0,1,1099511627776,1"), "GNU.sparse"),
    "attribute": (lambda: pax("SCHILY.xattr.security.capability", b"\1\0\0\2"), "SCHILY.xattr"),
    "access_list": (lambda: pax("SCHILY.acl.access", "user::rwx"), "SCHILY.acl"),
    "charset": (lambda: pax("hdrcharset", "BINARY"), "hdrcharset"),
    "setuid": (lambda: packed(file("su", mode=0o4755)), "setuid"),
    "setgid": (lambda: packed(file("sg", mode=0o2755)), "setuid"),
    "sticky": (lambda: packed(file("st", mode=0o1644)), "setuid"),
    "directory_with_content": (lambda: raw(head(b"d", b"5", 1), padded(b"x")), "directory with content"),
    "link_with_content": (lambda: raw(head(b"l", b"2", 1), padded(b"x")), "link with content"),
    "cve_2025_13462": (
        lambda: raw(extension(b"L", b"good\0"), head(b"dir/", b"\0", 5), padded(b"hello"), head(b"good/")),
        "'' between slashes",
    ),
}

NAMES: Hostile = {
    "the_same_twice": (lambda: packed(file("f", b"good"), file("f", b"evil")), "as a file"),
    "manifest_twice": (lambda: packed(file("manifest.json", b"{}")), "as a file"),
    "manifest_twice_by_dot": (lambda: packed(file("./manifest.json", b"{}")), "as a file"),
    "other_case": (lambda: packed(file("MANIFEST.JSON", b"{}")), "only in case"),
    "other_case_of_a_directory": (lambda: packed(file("D/a"), file("d/b")), "only in case"),
    "other_unicode_form": (lambda: packed(file("caf\u00e9"), file("cafe\u0301")), "Unicode form"),
    "sharp_s": (lambda: packed(file("stra\u00dfe"), file("strasse")), "only in case"),
    "below_a_file": (lambda: packed(file("a"), file("a/b")), "as a file"),
    "file_over_a_directory": (lambda: packed(file("a/b"), file("a")), "as a directory"),
    "directory_over_a_file": (lambda: packed(file("a"), special("a", DIRECTORY)), "as a file"),
    "nul_by_pax": (lambda: pax("path", "a\0b"), "control character"),
    "nul_in_the_header": (lambda: raw(head(b"a\0b")), "NUL"),
    "nul_by_gnu": (lambda: raw(extension(b"L", b"a\0b"), head()), "NUL"),
    "newline": (lambda: packed(file("a\nb")), "control character"),
    "escape_sequence": (lambda: packed(file("\x1b[2Jx")), "control character"),
    "control_of_8_bits": (lambda: packed(file("a\u009bb")), "control character"),
    "not_utf8": (lambda: raw(head(b"a\xff")), "not UTF-8"),
    "not_utf8_by_pax": (lambda: pax("path", b"a\xff"), "not UTF-8"),
    "surrogate": (lambda: pax("path", b"a\xed\xa0\x80"), "not UTF-8"),
    "no_name": (lambda: raw(head(b"")), "it is empty"),
    "no_name_by_pax": (lambda: pax("path", ""), "it is empty"),
    "only_a_dot": (lambda: packed(file(".")), "'.' between slashes"),
    "a_dot_inside": (lambda: packed(file("a/./b")), "'.' between slashes"),
    "two_dots_slash": (lambda: packed(file("././b")), "'.' between slashes"),
    "slash_after_a_file": (lambda: raw(head(b"a/")), "'' between slashes"),
    "two_slashes_inside": (lambda: packed(file("a//b")), "'' between slashes"),
    "long_part": (lambda: packed(file("n" * 256)), "longer than 255 bytes"),
    "long_part_in_bytes": (lambda: packed(file("\u00e9" * 128)), "longer than 255 bytes"),
    "long_path": (lambda: packed(file("/".join(["p" * 100] * 11))), "longer than 1024 bytes"),
    "deep_path": (lambda: packed(file("d/" * 32 + "f")), "32 directories"),
    "very_deep_path": (lambda: packed(file("d/" * 3000 + "f")), "longer than 1024 bytes"),
    "many_headers": (lambda: raw(*([head(b"d/", b"5")] * 50_001)), "more than 50000 headers"),
}

HEADERS: Hostile = {
    "wrong_checksum": (lambda: raw(b"b" + head()[1:]), "checksum"),
    "checksum_no_number": (lambda: raw(head()[:148] + b"zzzzzzzz" + head()[156:]), "where a number belongs"),
    "damaged_in_the_middle": (lambda: raw(b"garbage!" * 64, head()), "no tar archive"),
    "version_7": (lambda: raw(head(at257=b"\0" * 8)), "no tar archive"),
    "size_no_number": (lambda: raw(head(at124=b"12x45678901\0")), "where a number belongs"),
    "size_with_sign": (lambda: raw(head(at124=b"-0000000001\0")), "where a number belongs"),
    "cve_2025_8194": (
        lambda: raw(head(at124=b"\xff" + ((1 << 88) - 1024).to_bytes(11, "big")), END),
        "where a number belongs",
    ),
    "size_of_88_bits": (lambda: raw(head(at124=b"\x80" + b"\xff" * 11)), "larger than"),
    "size_beyond_the_end": (lambda: raw(head(size=1 << 20), b"x" * 512), "ends too early"),
    "pax_negative_size": (lambda: pax("size", "-1024"), "no number"),
    "pax_size_no_number": (lambda: pax("size", "1_0"), "no number"),
    "pax_size_huge": (lambda: pax("size", "9" * 19), "larger than"),
    "pax_huge": (lambda: pax("comment", "A" * (1 << 20)), "8192 at most"),
    "pax_twice": (lambda: raw(*[extension(b"x", record("path", "b"))] * 2, head()), "path twice"),
    "pax_and_gnu": (lambda: raw(extension(b"x", record("path", "b")), extension(b"L", b"c\0"), head()), "path twice"),
    "pax_key_twice": (lambda: raw(extension(b"x", record("path", "a") * 2), head()), "damaged"),
    "pax_no_length": (lambda: raw(extension(b"x", b"path=b\n"), head()), "damaged"),
    "pax_length_0": (lambda: raw(extension(b"x", b"0 path=b\n"), head()), "damaged"),
    "pax_length_too_small": (lambda: raw(extension(b"x", b"3 path=b\n"), head()), "damaged"),
    "pax_length_too_large": (lambda: raw(extension(b"x", b"99 path=b\n"), head()), "damaged"),
    "pax_without_newline": (lambda: raw(extension(b"x", b"9 path=bc"), head()), "damaged"),
    "pax_zeros": (lambda: raw(extension(b"x", record("path", "b") + b"\0" * 9), head()), "damaged"),
    "pax_key_not_utf8": (lambda: raw(extension(b"x", b"8 \xff=b\n\n"), head()), "damaged|not UTF-8"),
    "cve_2024_6232": (lambda: raw(extension(b"x", b"1" * 8192), head()), "damaged"),
    "global_path": (lambda: raw(extension(b"g", record("path", "b")), head()), "global header"),
    "global_size": (lambda: raw(extension(b"g", record("size", "512")), head()), "global header"),
    "gnu_name_huge": (lambda: raw(extension(b"L", b"a" * (1 << 20)), head()), "8192 at most"),
    "gnu_name_endless": (lambda: raw(head(kind=b"L", at124=b"\x80" + b"\xff" * 11)), "8192 at most"),
    "gnu_name_without_member": (lambda: raw(extension(b"L", b"a\0")), "after an extension header"),
    "gnu_name_twice": (lambda: raw(*[extension(b"L", b"a\0")] * 2, head()), "path twice"),
}

STREAMS: Hostile = {
    "empty": (lambda: b"", "neither tar.zst nor tar.gz"),
    "zip": (lambda: b"PK\x03\x04" + b"\0" * 4096, "neither tar.zst nor tar.gz"),
    "not_compressed": (lambda: GOOD + END, "neither tar.zst nor tar.gz"),
    "zstd_of_nothing": (lambda: zst(b""), "ends too early"),
    "zstd_of_text": (lambda: zst(b"hello " * 1000), "no tar archive"),
    "zstd_cut": (lambda: zst(GOOD + END)[:-9], "ends too early|damaged"),
    "zstd_damaged": (lambda: zst(GOOD + END)[:-1] + b"\0", "damaged"),
    "zstd_then_garbage": (lambda: zst(GOOD + END) + b"garbage", "damaged"),
    "zstd_then_zeros": (lambda: zst(GOOD + END) + b"\0" * 512, "damaged"),
    "zstd_window": (_wide_window, "damaged"),
    "zstd_bomb": (lambda: _bomb(_zstd_stream), "times its size"),
    "gzip_bomb": (lambda: _bomb(_gzip_stream), "times its size"),
    "gzip_cut": (lambda: _gzip(GOOD + END)[:-9], "damaged"),
    "gzip_damaged": (lambda: _gzip(GOOD + END)[:-8] + b"\0" * 8, "damaged"),
    "gzip_then_garbage": (lambda: _gzip(GOOD + END) + b"garbage", "damaged"),
    "gzip_then_zstd": (lambda: _gzip(GOOD) + zst(END), "damaged"),
    "no_end": (lambda: raw(end=b""), "ends too early"),
    "half_an_end": (lambda: raw(end=b"\0" * 512), "ends too early"),
    "second_archive": (lambda: raw(end=END + head(b"../victim/pwn") + END), "follows the end"),
    "between_the_zeros": (lambda: raw(end=b"\0" * 512 + head(b"pwn") + END), "follows the end"),
    "late_in_the_padding": (lambda: raw(end=b"\0" * 100_000 + b"x"), "follows the end"),
    "zeros_without_end": (lambda: raw(end=b"\0" * (80 << 20)), "times its size"),
}

HOSTILE: Hostile = {**OUTSIDE, **KINDS, **NAMES, **HEADERS, **STREAMS}
