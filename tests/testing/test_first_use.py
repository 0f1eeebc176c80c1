"""What someone reads who tries the kit for the first time, with a class of their own."""

from random import choice
from typing import Any

import pytest

from balancers import RoundRobin
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


def test_an_import_in_a_pick_is_no_work() -> None:
    """WeightedRoundRobin imports numpy when it gets many members."""
    call = "check_balancer(WeightedRoundRobin, ['weighted'], laws=['cost_of_a_pick'], examples=1)"
    done = run(["-c", f"from balancers import *\nfrom balancers.testing import *\n{call}"])
    assert done.stderr == ""


class Short(RoundRobin[str]):
    """Raises after some picks."""

    picks = 0

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:
        self.picks += 1
        assert self.picks < 7
        return super().pick(key, now, avoid)


def test_an_exception_in_the_history_for_another_process_is_in_the_program() -> None:
    with pytest.raises(LawBroken) as caught:
        check_balancer(Short, laws=["same_seed_same_picks_in_another_process"])
    assert caught.value.program.count(".pick(") >= 7
    assert run(["-c", caught.value.program]).returncode == 1


class Awaited(RoundRobin[str]):
    async def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> str:  # type: ignore[override]  # the fault
        return super().pick(key, now, avoid)


ONE = RoundRobin[str]()


def the_only_one() -> RoundRobin[str]:
    return ONE


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (Awaited, "a pool awaits no method, so none may be async: pick"),
        (the_only_one, "the factory must return a new balancer at each call"),
    ],
)
def test_what_no_law_can_test_has_one_message_and_a_program(factory: Any, why: str) -> None:
    with pytest.raises(LawBroken) as caught:
        check_balancer(factory)
    assert caught.value.law == "preflight"
    assert caught.value.why == f"no law can be tested, because {why}"
    done = run(["-c", caught.value.program])
    assert done.returncode == 1
    assert f"AssertionError: {why}" in done.stderr
