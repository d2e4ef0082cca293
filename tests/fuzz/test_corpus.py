"""The kept corpus of the fuzzer, and the same slightly damaged: a sample of what ``make fuzz`` tries."""

import random
from pathlib import Path

import pytest
from tests.fuzz.targets import TARGETS, mended

CORPUS = Path(__file__).parent / "corpus"
DAMAGED = 2000  # inputs per target


def kept(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_is_judged(target: str) -> None:
    inputs = kept(target)
    assert len(inputs) >= 20
    for data in inputs:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_judged(target: str) -> None:
    chance, inputs = random.Random(0), [data for data in kept(target) if data]
    for _ in range(DAMAGED):
        data = bytearray(chance.choice(inputs))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice([0, 0x20, 0x2E, 0x2F, 0x30, 0x37, 0x80, 0xFF])
        TARGETS[target](bytes(data))


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert max(sizes) <= 8192
    assert len(sizes) < 500


def test_mending_makes_the_checksums_of_headers_right_and_nothing_else() -> None:
    header = next(data for data in kept("archive") if data[257:262] == b"ustar" and len(data) >= 1536)
    broken = header[:148] + b"????????" + header[156:]
    assert mended(broken) == mended(header)
    assert mended(b"x" * 1000) == b"x" * 1000
