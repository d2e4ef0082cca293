"""Compressed streams that are damaged, cut, out of proportion, or followed by something."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable

import zstandard
from tests.bundle.crafted import END, GOOD, Hostile, gzip_of, head, raw, skippable, zst, zstd_of


def _bomb(compress: Callable[[Iterable[bytes]], bytes]) -> bytes:
    size = 256 << 20
    mebibyte = b"\0" * (1 << 20)
    return compress([GOOD, head(b"big", size=size), *([mebibyte] * (size >> 20)), END])


def _gzip(*pieces: bytes) -> bytes:
    return gzip_of(pieces)


def _header(flags: int, *more: bytes, method: int = 8) -> bytes:
    """A gzip member (RFC 1952) with these flags, and what they say is in its header."""
    deflate = zlib.compressobj(wbits=-15)
    content = deflate.compress(GOOD + END) + deflate.flush()
    check = zlib.crc32(GOOD + END).to_bytes(4, "little") + len(GOOD + END).to_bytes(4, "little")
    return b"\x1f\x8b" + bytes([method, flags]) + b"\0" * 6 + b"".join(more) + content + check


def _frame(header: bytes, *blocks: tuple[int, int, bytes]) -> bytes:
    """A zstd frame (RFC 8878) of blocks, each of a type (0 raw, 1 one byte repeated, 3 reserved), a size and bytes."""
    data = b"\x28\xb5\x2f\xfd" + header
    for number, (kind, size, content) in enumerate(blocks, 1):
        data += (size << 3 | kind << 1 | (number == len(blocks))).to_bytes(3, "little") + content
    return data


SINGLE = b"\xa0" + (1 << 20).to_bytes(4, "little")  # a frame header: one segment, of so many bytes
WINDOW = b"\x00\x88"  # a frame header: a window of 128 MiB, no content size

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
    "zstd_window": (lambda: zstd_of([GOOD, END], window_log=28), "damaged"),
    "zstd_bomb": (lambda: _bomb(zstd_of), "times its size"),
    "gzip_bomb": (lambda: _bomb(gzip_of), "times its size"),
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
    "bzip2": (lambda: bz2.compress(GOOD + END), "neither tar.zst nor tar.gz"),
    "xz": (lambda: lzma.compress(GOOD + END), "neither tar.zst nor tar.gz"),
    "zlib": (lambda: zlib.compress(GOOD + END), "neither tar.zst nor tar.gz"),
    "only_the_first_bytes_of_gzip": (lambda: b"\x1f\x8b", "damaged"),
    "only_the_first_bytes_of_zstd": (lambda: b"\x28\xb5\x2f\xfd", "damaged"),
    "zstd_of_an_old_version": (lambda: b"\x27" + zst(GOOD + END)[1:], "neither tar.zst nor tar.gz"),
    "zstd_twice": (lambda: zst(zst(GOOD + END)), "ends too early|no tar archive"),
    "gzip_twice": (lambda: _gzip(_gzip(GOOD + END)), "ends too early|no tar archive"),
    "zstd_without_its_last_byte": (lambda: zst(GOOD + END)[:-1], "damaged"),
    "zstd_without_its_checksum": (lambda: zst(GOOD + END)[:-4], "damaged"),
    "zstd_without_its_last_block": (lambda: _frame(SINGLE, (0, 0, b""))[:-3], "damaged"),
    "zstd_then_one_byte": (lambda: zst(GOOD + END) + b"\x28", "damaged"),
    "zstd_then_the_start_of_a_frame": (lambda: zst(GOOD + END) + b"\x28\xb5\x2f\xfd", "damaged"),
    "zstd_then_half_a_frame": (lambda: zst(GOOD + END) + zst(b"hello world, this is it")[:-6], "damaged"),
    "zstd_then_half_a_skippable_frame": (lambda: zst(GOOD + END) + skippable(b"ab", size=16), "damaged"),
    "zstd_then_an_endless_skippable_frame": (lambda: zst(GOOD + END) + skippable(b"", size=0xFFFFFFFF), "damaged"),
    "zstd_then_gzip": (lambda: zst(GOOD) + _gzip(END), "damaged"),
    "zstd_only_skippable": (lambda: skippable(b"pwn") * 100, "ends too early"),
    "zstd_reserved_block": (lambda: _frame(SINGLE, (3, 16, b"x" * 16)), "damaged"),
    "zstd_reserved_bit": (lambda: b"\x28\xb5\x2f\xfd\x28" + zst(GOOD + END)[5:], "damaged"),
    "zstd_block_too_large": (lambda: _frame(SINGLE, (0, (1 << 21) - 1, b"x" * 4096)), "damaged"),
    "zstd_size_of_a_lie": (lambda: _frame(b"\xa0\x0a\0\0\0", (0, 1024, END)), "damaged"),
    "zstd_of_a_dictionary": (
        lambda: (
            zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(GOOD * 9)).compress(GOOD + END)[:4]
            + b"\x23\x07\0\0\0\x10"
            + zst(GOOD + END)[6:]
        ),
        "damaged",
    ),
    "zstd_window_in_a_later_frame": (lambda: zst(GOOD) + zstd_of([END], window_log=29), "damaged"),
    "zstd_window_of_4_gigabytes": (lambda: _frame(b"\0\xb0", (0, 1024, END)), "damaged"),
    "zstd_bomb_of_one_byte_repeated": (
        lambda: zst(GOOD + head(b"big", size=1 << 30)) + _frame(WINDOW, *[(1, 1 << 17, b"\0")] * (1 << 13)),
        "times its size",
    ),
    "zstd_bomb_in_a_later_frame": (
        lambda: zst(GOOD + head(b"big", size=1 << 30)) + zst(b"\0" * (1 << 20)) * (1 << 10),
        "times its size",
    ),
    "zstd_bomb_in_the_largest_window": (lambda: _bomb(lambda pieces: zstd_of(pieces, window_log=27)), "times its size"),
    "gzip_bomb_of_members": (
        lambda: _gzip(GOOD + head(b"big", size=1 << 30)) + _gzip(b"\0" * (1 << 20)) * (1 << 10),
        "times its size",
    ),
    "gzip_unknown_method": (lambda: _header(0, method=9), "damaged"),
    "gzip_reserved_flags": (lambda: _header(0xE0), "damaged"),
    "gzip_wrong_check_of_the_header": (lambda: _header(0x02, b"\0\0"), "damaged"),
    "gzip_extra_field_beyond_the_end": (lambda: _header(0x04, b"\xff\xff"), "damaged"),
    "gzip_name_without_end": (lambda: _header(0x08)[:10] + b"n" * 100_000, "damaged"),
    "gzip_wrong_length": (lambda: _gzip(GOOD + END)[:-4] + b"\0\0\0\1", "damaged"),
    "gzip_reserved_block": (lambda: _header(0)[:10] + b"\x07" + b"\0" * 20, "damaged"),
    "gzip_stored_length_of_a_lie": (lambda: _header(0)[:10] + b"\x01\x10\x00\x00\x00" + b"x" * 16, "damaged"),
    "gzip_distance_too_far_back": (lambda: _header(0)[:10] + b"\x03\x02\x00" + b"\xff" * 8, "damaged"),
    "gzip_second_member_cut": (lambda: _gzip(GOOD) + _gzip(END)[:-5], "damaged"),
    "gzip_second_member_damaged": (lambda: _gzip(GOOD) + _gzip(END)[:-8] + b"\1" * 8, "damaged"),
    "gzip_second_archive_after_zeros": (
        lambda: _gzip(GOOD + END) + b"\0" * 4096 + _gzip(head(b"../victim/pwn"), END),
        "follows the end",
    ),
    "gzip_garbage_after_zeros": (lambda: _gzip(GOOD + END) + b"\0" * 4096 + b"x", "damaged"),
    "one_byte_behind_the_end": (lambda: raw(end=END + b"x"), "follows the end"),
    "half_a_block_of_zeros": (lambda: raw(end=b"\0" * 700), "ends too early"),
}
