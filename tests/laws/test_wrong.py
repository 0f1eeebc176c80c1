"""Every wrong balancer, gate and load is caught by its law, and the program shows the breach."""

from collections.abc import Callable
from typing import Any

import pytest

from balancers.testing import LawBroken, check_balancer, check_gate, check_load
from tests.depth import DEEP
from tests.laws import shares
from tests.laws.wrong import WRONG_BALANCERS, WRONG_GATES, WRONG_LOADS, Wrong

CHECKS: list[tuple[Callable[..., Any], list[Wrong]]] = [
    (check_balancer, WRONG_BALANCERS),
    (check_gate, WRONG_GATES),
    (check_load, WRONG_LOADS),
]
EVERY = 4 if DEEP else 8
"""The shares of all of them are measured by ``python -m tests.laws.shares``."""
LONG = {"SortsByComparing"}
"""A pick takes so long that the time of the law ends first.  It is only in ``make mutants``."""
SUBJECTS = [
    (check, wrong)
    for check, wrong in [(check, wrong) for check, wrongs in CHECKS for wrong in wrongs][::EVERY]
    if wrong.name not in LONG
]
ROWS = [*shares.rows()]


@pytest.mark.parametrize(("check", "wrong"), SUBJECTS, ids=lambda value: getattr(value, "name", ""))
def test_a_wrong_subject_is_caught_by_its_law(check: Callable[..., Any], wrong: Wrong) -> None:
    traits = [wrong.traits] if check is check_balancer else []
    with pytest.raises(LawBroken) as caught:
        check(wrong.make, *traits, laws=[wrong.law], **wrong.options)
    assert caught.value.law == wrong.law
    if wrong.law != "same_seed_same_picks_in_another_process":
        assert "not deterministic" not in caught.value.why
    error = error_of(caught.value.program)
    assert error is not None
    assert str(error) in caught.value.why or type(error).__name__ in caught.value.why


def error_of(program: str) -> Exception | None:
    """Run a program as another process would, and return the exception that ends it."""
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a law printed it
    except Exception as error:  # noqa: BLE001 - the caller looks at it
        return error
    return None


def test_each_law_has_a_wrong_subject() -> None:
    assert shares.laws_without_a_wrong_subject() == []


def test_every_named_mutant_exists() -> None:
    assert {*shares.MUTANT_LAWS} <= {row.name for row in ROWS}
