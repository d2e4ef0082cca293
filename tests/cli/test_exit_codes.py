"""Scripts branch by the exit code: the same kind of error always gives the same one."""

import pytest

from kernex.cli.exit_codes import CODES, DeploymentFailedError, ExitCode, WaitTimeoutError, code_of, hint_of
from kernex.domain import errors
from kernex.domain.errors import KernexError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DeniedError("cannot"), 3),
        (errors.UnauthenticatedError("cannot"), 3),
        (errors.NotFoundError("cannot"), 4),
        (errors.RejectedError("cannot"), 5),
        (errors.ConflictError("cannot"), 5),
        (errors.IllegalTransition("cannot"), 5),
        (DeploymentFailedError("cannot"), 6),
        (WaitTimeoutError("cannot"), 7),
        (errors.UnavailableError("cannot"), 1),
        (KernexError("cannot"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: KernexError, code: int) -> None:
    assert code_of(error) == code


def test_every_class_of_the_domain_is_in_the_table_or_below_one_that_says_more_than_error() -> None:
    domain = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KernexError)]
    assert len(domain) >= 8
    vague = {kind for kind in domain if kind not in CODES and code_of(kind("cannot")) is ExitCode.ERROR}
    assert vague == set()


def test_the_codes_are_those_of_the_documentation() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "NOT_ALLOWED": 3,
        "NOT_FOUND": 4,
        "REFUSED": 5,
        "DEPLOYMENT_FAILED": 6,
        "TIMED_OUT": 7,
        "INTERRUPTED": 130,
    }


def test_a_hint_of_the_place_wins_over_the_hint_of_the_kind() -> None:
    error = errors.UnauthenticatedError("cannot")
    assert "KERNEX_TOKEN" in (hint_of(error) or "")
    error.add_note("look under the mat")
    assert hint_of(error) == "look under the mat"
    assert hint_of(errors.ConflictError("cannot")) is None
