"""One target under atheris: ``python -m tests.fuzz.target NAME [LIBFUZZER OPTIONS] CORPUS…``"""

import sys

import atheris

with atheris.instrument_imports(include=["kernex.bundle", "kernex.domain"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    program, name, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[name])
    atheris.Fuzz()
