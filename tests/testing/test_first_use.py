"""What someone reads who tries the kit for the first time, with a class of their own."""

from random import choice
from typing import Any

import pytest

from balancers.testing import LawBroken, check_balancer
from tests.testing.tutorial import run


class Mine:
    """A balancer whose author has not read the protocol."""

    def __init__(self) -> None:
        self.weights: dict[Any, float] = {}

    def put(self, backend: Any, weight: float = 1) -> None:
        self.weights[backend] = weight

    def pick(self) -> Any:
        return choice([*self.weights])


def test_all_missing_members_are_named_at_once() -> None:
    with pytest.raises(LawBroken) as caught:
        check_balancer(Mine)
    assert caught.value.law == "preflight"
    assert caught.value.why == (
        "no law can be tested, because the balancer has no "
        "keyed, fractional, discard, started, finished"
    )


def test_the_program_fails_with_the_same_sentence() -> None:
    with pytest.raises(LawBroken) as caught:
        check_balancer(Mine)
    done = run(["-c", caught.value.program])
    assert done.returncode == 1
    assert "AssertionError: the balancer has no keyed, fractional, discard" in done.stderr
