"""Every wrong balancer, gate and load is caught by its law, and the program shows the breach."""

from typing import Any

import pytest

from balancers.testing import LawBroken, check_balancer
from tests.laws.shares import MODULES
from tests.laws.wrong import WRONG_BALANCERS, Wrong

assert MODULES


def breach_of(check: Any, wrong: Wrong) -> LawBroken:
    """Run the law alone over the wrong object, and return the error."""
    with pytest.raises(LawBroken) as caught:
        check(
            wrong.make, *([wrong.traits] if wrong.traits else []), laws=[wrong.law], **wrong.options
        )
    return caught.value


def error_of(program: str) -> Exception | None:
    """Run a program as another process would, and return the exception that ends it."""
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a law printed it
    except Exception as error:  # noqa: BLE001 - the caller looks at it
        return error
    return None


@pytest.mark.parametrize("wrong", WRONG_BALANCERS, ids=lambda wrong: str(wrong.name))
def test_a_wrong_balancer_is_caught_by_its_law(wrong: Wrong) -> None:
    broken = breach_of(check_balancer, wrong)
    assert broken.law == wrong.law
    assert "not deterministic" not in broken.why
    shows_the_breach(broken)


def shows_the_breach(broken: LawBroken) -> None:
    error = error_of(broken.program)
    assert error is not None
    assert str(error) == broken.why or type(error).__name__ in broken.why, broken
