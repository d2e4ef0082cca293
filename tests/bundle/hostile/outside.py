"""Archives that want to write, link or reach outside of the directory that they are unpacked into."""

import tarfile

from tests.bundle.crafted import (
    DIRECTORY,
    HARD,
    Hostile,
    extension,
    file,
    head,
    link,
    packed,
    padded,
    pax,
    raw,
    record,
    special,
)


def _steps(*after: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """CVE-2025-4517: links make a path short for the checker and longer than PATH_MAX for the kernel."""
    part, path, members = "d" * 247, "", []
    for step in "abcdefghijklmnop":
        members += [special(f"{path}{part}", DIRECTORY), link(f"{path}{step}", part)]
        path += f"{part}/"
    deep = "/".join("abcdefghijklmnop") + "/" + "l" * 254
    return packed(*members, link(deep, "../" * 16), link("escape", f"{deep}/../victim"), *after)


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
    "dot_dot_in_overlong_utf8": (lambda: raw(head(b"\xc0\xae\xc0\xae\xc0\xafvictim")), "not UTF-8"),
    "the_root_twice_over": (lambda: raw(head(b"//", b"5")), "absolute"),
    "above_by_a_drive": (lambda: packed(file("C:\\victim\\pwn")), "backslash"),
    "link_in_all_bytes_of_its_field": (
        lambda: raw(head(b"l", b"2", at157=b"../" * 30 + b"victimpwn1")),
        "outside of the bundle",
    ),
    "link_far_up": (lambda: packed(link("l", "../" * 40 + "etc")), "32 directories"),
    "link_to_a_sibling_with_the_same_beginning": (lambda: packed(link("l", "../place-evil")), "outside of the bundle"),
    "link_by_a_backslash": (lambda: packed(link("l", "..\\victim")), "backslash"),
    "link_to_a_place_below_itself": (lambda: packed(link("l", "l/l")), "another link"),
    "link_to_its_own_directory": (lambda: packed(link("a/b/l", "../b")), "a directory that holds it"),
    "link_to_the_top_by_a_name": (lambda: packed(link("a/l", "../A")), "a directory that holds it"),
    "link_over_the_manifest": (lambda: packed(link("manifest.json", "../victim/keep")), "as a file"),
    "link_then_write_in_other_case": (lambda: packed(link("L", "manifest.json"), file("l/x")), "only in case"),
    "link_then_write_in_other_form": (
        lambda: packed(link("caf\u00e9", "manifest.json"), file("cafe\u0301")),
        "Unicode form",
    ),
    "link_below_a_link": (lambda: packed(link("d", "e"), link("d/l", "../victim")), "as a link"),
    "link_too_long_by_gnu": (lambda: raw(extension(b"K", b"a/" * 600), head(b"l", b"2")), "longer than 1024 bytes"),
    "link_with_a_long_part": (lambda: packed(link("l", "n" * 256)), "longer than 255 bytes"),
    "link_not_utf8": (lambda: raw(head(b"l", b"2", at157=b"\xff")), "not UTF-8"),
    "link_with_a_nul": (lambda: raw(extension(b"K", b"a\0/../victim"), head(b"l", b"2")), "NUL"),
    "hard_link_by_pax": (
        lambda: raw(extension(b"x", record("linkpath", "../victim/keep")), head(b"h", b"1")),
        "hard link",
    ),
    "hard_link_by_gnu": (lambda: raw(extension(b"K", b"../victim/keep\0"), head(b"h", b"1")), "hard link"),
    "hard_link_with_content": (
        lambda: raw(head(b"h", b"1", 4, at157=b"../victim/keep"), padded(b"evil")),
        "hard link",
    ),
    "hard_link_to_a_link": (
        lambda: packed(link("l", "../victim/keep"), special("h", HARD, "l"), file("h", b"new")),
        "hard link",
    ),
    "cve_2024_12718_directory": (lambda: _steps(special("escape/keep", DIRECTORY, mode=0o777)), "longer than 1024"),
    "cve_2025_4138": (
        lambda: packed(special("d1/d2", DIRECTORY), link("a", "d1/d2"), link("e", "a/../../../victim"), file("e/pwn")),
        "as a link",
    ),
    "cve_2025_4330_by_two_links": (
        lambda: packed(link("a/s", "../x"), link("x", "."), special("b", HARD, "a/s"), file("b/../victim/pwn")),
        "'.' between slashes",
    ),
    "cve_2025_4435": (lambda: packed(file("before"), file("../victim/pwn"), file("after")), "'..' between slashes"),
    "cve_2025_4517_overwrite": (
        lambda: _steps(special("flag", HARD, "escape/keep"), file("flag", b"new")),
        "longer than 1024 bytes",
    ),
    "cve_2025_62518": (
        lambda: raw(
            extension(b"x", record("size", "512")), head(b"inner.tar", size=1024), head(b"../victim/pwn"), padded(b"x")
        ),
        "two sizes",
    ),
    "cve_2026_4360": (
        lambda: packed(file("f", mode=0o755, uid=65534), special("h", HARD, "f", uid=65534)),
        "hard link",
    ),
    "cve_2026_7774": (
        lambda: raw(head(b"", b"2", at157=b"dir"), head(b"", b"2", at157=b"../victim"), head(b"dir/pwn")),
        "it is empty",
    ),
    "cve_2026_11972": (lambda: raw(head(b"big", size=1 << 33), b"x" * 100, end=b""), "ends too early"),
    "cve_2026_23745": (lambda: packed(special("h", HARD, "/etc/passwd"), link("l", "/etc/passwd")), "hard link"),
    "cve_2026_23950": (lambda: packed(link("stra\u00dfe", "manifest.json"), file("strasse")), "only in case"),
}
