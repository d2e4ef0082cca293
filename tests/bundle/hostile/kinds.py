"""Members that are neither files nor directories nor links, or carry what a bundle does not."""

import tarfile

from tests.bundle.crafted import END, Hostile, extension, file, head, packed, padded, pax, raw, record, special

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
    "gnu_continued_volume": (lambda: raw(head(kind=b"M", at257=b"ustar  \0", at369=b"00000001000\0")), "unknown type"),
    "gnu_volume_label": (lambda: raw(head(b"label", b"V", at257=b"ustar  \0")), "unknown type"),
    "gnu_old_long_name": (
        lambda: raw(head(kind=b"N", at257=b"ustar  \0", size=5), padded(b"a\0b\0\n")),
        "unknown type",
    ),
    "solaris_access_list": (lambda: raw(extension(b"A", b"1000007\0user::rwx\0"), head()), "unknown type"),
    "kind_of_8_bits": (lambda: raw(head(kind=b"\xff")), "unknown type"),
    "device_by_pax": (
        lambda: raw(extension(b"x", record("SCHILY.devmajor", "1") + record("SCHILY.devminor", "3")), head(kind=b"3")),
        "SCHILY.devmajor",
    ),
    "device_with_content": (lambda: raw(head(b"sda", b"4", 512), END), "block device"),
    "old_sparse_continued": (
        lambda: raw(head(kind=b"S", at257=b"ustar  \0", at386=b"00000000000\0" * 8, at482=b"\1"), b"\1" * 512),
        "sparse",
    ),
    "pax_sparse_0_0": (
        lambda: pax("GNU.sparse.numblocks", "99999999999"),
        "GNU.sparse.numblocks",
    ),
    "pax_sparse_with_a_map_of_its_own": (  # CVE-2025-58183: a map without bound
        lambda: raw(
            extension(b"x", record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")),
            head(size=512),
            padded(b"999999999999\n0\n1\n"),
        ),
        "GNU.sparse.major",
    ),
    "pax_sparse_with_another_name": (lambda: pax("GNU.sparse.name", "../victim/pwn"), "GNU.sparse.name"),
    "star_sparse": (lambda: pax("SCHILY.realsize", str(1 << 40)), "SCHILY.realsize"),
    "sparse_by_solaris": (lambda: pax("SUN.holesdata", " 0 1099511627776"), "SUN.holesdata"),
    "attribute_of_libarchive": (lambda: pax("LIBARCHIVE.xattr.security.capability", "AQAAAg"), "LIBARCHIVE.xattr"),
    "label_of_selinux": (lambda: pax("RHT.security.selinux", "system_u:object_r:shadow_t:s0"), "RHT.security"),
    "default_access_list": (lambda: pax("SCHILY.acl.default", "other::rwx"), "SCHILY.acl.default"),
    "flags_of_a_file": (lambda: pax("SCHILY.fflags", "immutable"), "SCHILY.fflags"),
    "owner_of_windows": (lambda: pax("MSWINDOWS.rawsd", "AQAEgBQAAAA="), "MSWINDOWS"),
    "record_of_the_future": (lambda: pax("KERNEX.run_as", "root"), "KERNEX.run_as"),
    "charset_of_one_file": (lambda: pax("charset", "ISO-IR 8859 1 1998"), "charset"),
    "setuid_in_base_256": (lambda: raw(head(b"su", at100=b"\x80\0\0\0\0\0\x09\xed")), "setuid"),
    "mode_without_number": (lambda: raw(head(at100=b"rwxr-xr-")), "where a number belongs"),
    "mode_below_zero": (lambda: raw(head(at100=b"\xff" * 8)), "where a number belongs"),
    "directory_with_content_by_pax": (
        lambda: raw(extension(b"x", record("size", "512")), head(b"d", b"5"), head(b"../victim/pwn")),
        "directory with content",
    ),
    "link_with_content_by_pax": (
        lambda: raw(extension(b"x", record("size", "512")), head(b"l", b"2", at157=b"a"), padded(b"x")),
        "link with content",
    ),
}
