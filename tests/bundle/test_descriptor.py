"""One tree, one descriptor, one digest: for ever."""

import hashlib
from typing import Any

import pytest

from kernex.bundle.descriptor import Descriptor, FileEntry, LinkEntry, differences
from kernex.domain.bundle import Digest
from kernex.domain.errors import RejectedError

A, B = Digest("a" * 64), Digest("b" * 64)
VAD = Descriptor(
    "vad",
    "1.4.0",
    (FileEntry("modèle.onnx", 2_300_000, 0o644, B), FileEntry("deploy.sh", 10, 0o755, A)),
    (LinkEntry("z", "deploy.sh"), LinkEntry("latest", "modèle.onnx")),
)
GOLDEN = (
    '{"files":[{"mode":493,"path":"deploy.sh","sha256":"' + A + '","size":10},'
    '{"mode":420,"path":"modèle.onnx","sha256":"' + B + '","size":2300000}],'
    '"format":1,"links":[{"path":"latest","target":"modèle.onnx"},{"path":"z","target":"deploy.sh"}],'
    '"name":"vad","version":"1.4.0"}'
).encode()


def digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def parse(data: bytes) -> Descriptor:
    return Descriptor.parse(data, digest(data))


def test_the_bytes_are_these_and_stay_these() -> None:
    assert VAD.encode() == GOLDEN
    assert VAD.digest == "15007bcb60879b9d8729564f483a8e803f1e85826dcb191e51c656c0fcbbe198"


def test_parsing_gives_back_what_was_encoded() -> None:
    assert parse(GOLDEN) == VAD
    assert isinstance(parse(GOLDEN).files[0].sha256, Digest)
    assert VAD.installed_bytes == 2_300_010


def test_other_bytes_than_the_digest_names_are_refused() -> None:
    with pytest.raises(RejectedError, match=f"its SHA-256 is not {A.short}"):
        Descriptor.parse(GOLDEN, A)


def test_too_large_is_refused_unread() -> None:
    with pytest.raises(RejectedError, match="larger than 16777216 bytes"):
        parse(b" " * (16 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (',"format"', ', "format"', "canonical"),
        ('"format":1', '"format":1,"format":1', "canonical"),
        ('"name":"vad","version":"1.4.0"', '"version":"1.4.0","name":"vad"', "canonical"),
        ("è", "\\u00e8", "canonical"),
        ('{"path":"latest","target":"modèle.onnx"},{"path":"z","target":"deploy.sh"}',
         '{"path":"z","target":"deploy.sh"},{"path":"latest","target":"modèle.onnx"}', "canonical"),
        ('"format":1', '"format":2', "format"),
        ('"format":1', '"extra":1,"format":1', "extra"),
        ('"size":10', '"extra":1,"size":10', "extra"),
        ('"format":1,', "", "canonical"),
        ('"size":10', '"size":-10', "negative"),
        ('"size":10', '"size":"10"', "size"),
        ('"size":10', '"size":1e1', "canonical|size"),
        ('"mode":493', '"mode":511', "mode"),
        ('"mode":493', '"mode":2541', "mode"),
        ('"sha256":"aa', '"sha256":"AA', "64 hexadecimal digits"),
        ('"name":"vad"', '"name":"../vad"', "bundle name"),
        ('"version":"1.4.0"', '"version":"a/b"', "version"),
        ('"path":"deploy.sh"', '"path":"../deploy.sh"', "'..' between slashes"),
        ('"path":"deploy.sh"', '"path":"/deploy.sh"', "absolute"),
        ('"path":"deploy.sh"', '"path":""', "empty"),
        ('"path":"deploy.sh"', '"path":"./deploy.sh"', "'.' between slashes"),
        ('"path":"deploy.sh"', '"path":"a\\u0000b"', "control character"),
        ('"path":"deploy.sh"', '"path":"modèle.onnx"', "as a file"),
        ('"path":"deploy.sh"', '"path":"MODÈLE.ONNX"', "only in case"),
        ('"path":"z"', '"path":"deploy.sh"', "as a file"),
        ('"path":"z"', '"path":"latest"', "as a link"),
        ('"path":"z"', '"path":"deploy.sh/z"', "as a file"),
        ('"target":"deploy.sh"', '"target":"../deploy.sh"', "outside of the bundle"),
        ('"target":"deploy.sh"', '"target":"/etc/passwd"', "absolute"),
        ('"target":"deploy.sh"', '"target":"latest"', "another link"),
        ("{", "[", "got `array`"),
    ],
)  # fmt: skip
def test_anything_but_a_canonical_safe_descriptor_is_refused(old: str, new: str, words: str) -> None:
    data = GOLDEN.decode().replace(old, new, 1).encode()
    assert data != GOLDEN
    with pytest.raises(RejectedError, match=words):
        parse(data)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"a":"\xff"}'])
def test_what_is_no_descriptor_is_refused(data: bytes) -> None:
    with pytest.raises(RejectedError, match="cannot read the descriptor"):
        parse(data)


def test_two_entries_of_one_name_are_refused_when_made() -> None:
    file = VAD.files[0]
    with pytest.raises(RejectedError, match="as a file"):
        Descriptor("vad", "1", (file, file))


def changed(**fields: Any) -> Descriptor:
    first, second = VAD.files
    values = {"path": first.path, "size": first.size, "mode": first.mode, "sha256": first.sha256, **fields}
    return Descriptor("vad", "1.4.0", (FileEntry(**values), second), VAD.links)


def test_differences_are_said_in_words() -> None:
    assert differences(VAD, VAD) == []
    assert differences(VAD, changed(sha256=B)) == [
        f"deploy.sh has other content: expected {A.short}…, found {B.short}…"
    ]
    assert differences(VAD, changed(size=11)) == ["deploy.sh has 11 bytes instead of 10"]
    assert differences(VAD, changed(mode=0o644)) == ["deploy.sh has mode 0644 instead of 0755"]
    assert differences(VAD, changed(path="deploy2.sh")) == [
        "deploy.sh is missing",
        "deploy2.sh is not named by the descriptor",
    ]
    links = Descriptor("vad", "1.4.1", VAD.files, (LinkEntry("latest", "deploy.sh"),))
    assert differences(VAD, links) == [
        "it is vad==1.4.1 instead of vad==1.4.0",
        "latest links to deploy.sh instead of modèle.onnx",
        "z is missing",
    ]
    other = Descriptor("vad", "1.4.0", (*VAD.files, FileEntry("z", 1, 0o644, A)), VAD.links[:1])
    assert differences(VAD, other) == ["z is a file instead of a link"]
    assert differences(other, VAD) == ["z is a link instead of a file"]
