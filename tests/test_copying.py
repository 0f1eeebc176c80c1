"""Copies draw the numbers that the original would draw, and do not copy them one by one."""

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import pytest

from balancers import Pool, PowerOfTwoChoices, RandomChoice
from balancers.gates import OutlierEjection
from balancers.testing.programs import executed_lines

NAMES = ["a", "b", "c"]


def ejecting(rng: Random) -> OutlierEjection[str]:
    return OutlierEjection(consecutive_failures=1, max_ejected_share=1.0, jitter=1.0, rng=rng)


def choosing(rng: Random) -> RandomChoice[str]:
    return RandomChoice(NAMES, rng=rng)


def comparing(rng: Random) -> PowerOfTwoChoices[str]:
    return PowerOfTwoChoices(NAMES, rng=rng)


@pytest.mark.parametrize("make", [choosing, comparing, ejecting])
def test_a_copy_takes_few_steps(make: Callable[[Random], Any]) -> None:
    made = make(Random(1))
    assert executed_lines(lambda: deepcopy(made), 10_000) < 2500  # one by one: 10 000


def test_parts_with_one_generator_have_one_in_the_copy() -> None:
    rng = Random(1)
    rng.gauss(0.0, 1.0)  # leaves a second number for the next call
    lb, gate = deepcopy((choosing(rng), ejecting(rng)))
    pool, copied = Pool(choosing(rng), [ejecting(rng)]), Pool(lb, [gate])

    def history(pool: Pool[str]) -> list[object]:
        found = list[object]()
        for now in range(40):
            lease = pool.acquire(float(now * 100))
            pool.release(lease, now * 100.0, ok=now % 2 == 0)
            found += [lease.backend, pool.due]
        return found

    assert history(pool) == history(copied)


def test_a_generator_of_another_class_is_copied_by_its_own_rules() -> None:
    class Half(Random):
        def random(self) -> float:
            return 0.5

    lb = deepcopy(choosing(Half()))
    assert [lb.pick() for _ in range(3)] == ["b"] * 3
