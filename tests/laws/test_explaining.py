"""The law of explanations finds balancers whose copies are not independent."""

from copy import copy
from typing import Any

import pytest

from balancers import RoundRobin
from balancers.membership import Membership
from balancers.testing import LawBroken, check_balancer


class SharedTurns(Membership[str]):
    """A round robin whose deep copy counts turns in the list of the original."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        opened = [b for b, weight in self.weights.items() if weight and b not in avoid]
        if not opened:
            raise self.refusal()
        self.turns.append(1)
        return opened[len(self.turns) % len(opened)]

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedTurns":
        copied = copy(self)
        copied._weights = self._weights.copy()
        return copied


class ForgottenTurn(RoundRobin[str]):
    """A round robin whose deep copy begins with the first backend again."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "ForgottenTurn":
        return ForgottenTurn(self.weights)


@pytest.mark.parametrize("wrong", [SharedTurns, ForgottenTurn])
def test_a_copy_that_is_not_independent_is_found(wrong: type[Any]) -> None:
    with pytest.raises(LawBroken, match="explain") as broken:
        check_balancer(wrong, laws=["explains_what_acquire_does"], examples=50)
    assert "pool.explain(" in broken.value.program


def test_a_right_copy_is_accepted() -> None:
    check_balancer(RoundRobin, laws=["explains_what_acquire_does"], examples=100)
