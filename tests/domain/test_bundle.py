"""Names, versions and digests: what may become a directory, a URL or a line in a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernex.domain.bundle import NAME, VERSION, BundleRef, Digest
from kernex.domain.errors import RejectedError

HEX = "0123456789abcdef"


@pytest.mark.parametrize("name", ["vad", "a", "0", "speech-2", "a" * 64])
def test_a_plain_name_is_taken(name: str) -> None:
    assert BundleRef(name, "1").name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "-vad",
        "Vad",
        "v ad",
        "vad/..",
        "../vad",
        "/vad",
        "vad\n",
        "vad\0",
        "a" * 65,
        "vád",
        "٣",
        "a.b",
        "a_b",
    ],
)
def test_a_name_that_reads_as_a_path_or_an_option_is_refused(name: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot use .* as a bundle name"):
        BundleRef(name, "1.0.0")


@pytest.mark.parametrize("version", ["1", "1.4.0", "2026.11.24", "1.0.0-rc.1+build_7", "v2", "1" * 128])
def test_versions_as_people_write_them_are_taken(version: str) -> None:
    assert str(BundleRef("vad", version)) == f"vad=={version}"


@pytest.mark.parametrize(
    "version",
    [
        "",
        ".",
        "..",
        "1..2",
        "../1",
        "1/2",
        "/1",
        "\\1",
        "-1",
        "+1",
        "1 0",
        "1\n",
        "1\0",
        "1%2e",
        "1" * 129,
        "\uff11",
        "a=b",
    ],
)
def test_a_version_that_reads_as_a_path_is_refused(version: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot use .* as a version"):
        BundleRef("vad", version)


@given(
    st.from_regex(NAME, fullmatch=True), st.from_regex(VERSION, fullmatch=True).filter(lambda text: ".." not in text)
)
def test_a_bundle_reads_back_as_it_was_written(name: str, version: str) -> None:
    ref = BundleRef(name, version)
    assert BundleRef.parse(str(ref)) == ref


@given(st.text(), st.text())
def test_whatever_is_taken_stays_one_entry_of_one_directory(name: str, version: str) -> None:
    try:
        ref = BundleRef(name, version)
    except RejectedError:
        return
    for part in (ref.name, ref.version):
        assert "/" not in part
        assert part not in {"", ".", ".."}
        assert part.isascii()


@pytest.mark.parametrize("text", ["vad", "vad=1.0.0", "==1.0.0", "vad==", "vad==1==2"])
def test_what_is_no_bundle_says_how_to_write_one(text: str) -> None:
    with pytest.raises(RejectedError, match=r"^cannot "):
        BundleRef.parse(text)


@given(st.text(HEX, min_size=64, max_size=64))
def test_a_digest_is_its_text(text: str) -> None:
    digest = Digest(text)
    assert digest == text
    assert text.startswith(digest.short)
    assert len(digest.short) == 12


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "sha256:" + "a" * 57, "../" + "a" * 61]
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(RejectedError, match="not 64 hexadecimal digits"):
        Digest(text)


def test_a_refusal_never_repeats_all_of_a_hostile_text() -> None:
    for make in (
        lambda: Digest("x" * 100_000),
        lambda: BundleRef("x" * 100_000, "1"),
        lambda: BundleRef.parse("y" * 100_000),
    ):
        with pytest.raises(RejectedError) as caught:
            make()
        assert len(str(caught.value)) < 300
