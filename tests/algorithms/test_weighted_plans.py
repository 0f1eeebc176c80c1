"""Plans of weighted least connections, with few members and with many, whose weights are far apart.

The ranking follows the pick, so it must not count the step of this pick twice, or leave it out.
"""

from copy import deepcopy
from random import Random
from typing import Literal

import pytest

from balancers import NoBackendAvailable, WeightedLeastConnections
from tests.work import work_of


@pytest.mark.parametrize("rule", ["wlc", "sed"])
@pytest.mark.parametrize("members", [2, 5, 30])
def test_each_backend_of_a_plan_is_the_pick_without_those_before_it(
    members: int, rule: Literal["wlc", "sed"]
) -> None:
    for seed in range(6):
        rng = Random(seed)
        weights = {backend: rng.choice([1, 2, 7, 20]) for backend in range(members)}
        lb = WeightedLeastConnections(weights, rule=rule)
        for _ in range(12):
            lb.started(lb.pick())
            for _ in range(rng.randrange(4)):
                lb.pick()
            avoid = {*rng.sample(range(members), rng.randrange(members))}
            before = deepcopy(lb)
            plan = lb.plan(members, avoid=avoid)
            for place, backend in enumerate(plan):
                assert deepcopy(before).pick(avoid={*avoid, *plan[:place]}) == backend
            assert len(plan) == members - len(avoid)
            before.pick(avoid=avoid)
            assert deepcopy(before).pick() == deepcopy(lb).pick()
        with pytest.raises(NoBackendAvailable, match="avoided"):
            lb.plan(3, avoid=range(members))


@pytest.mark.parametrize("different", [1, 7])
@pytest.mark.parametrize("idle", [{5}, {3, 50}])
def test_a_plan_does_not_pass_the_backends_that_got_busy_again_and_again(
    different: int, idle: set[int]
) -> None:
    def plans(members: int) -> int:
        lb = WeightedLeastConnections({name: 1 + name % different for name in range(members)})
        lb.plan(3)
        for name in {*range(members)} - idle:
            lb.started(name)
        lb.plan(3)

        def hundred() -> None:
            for _ in range(100):
                lb.plan(3)

        return work_of(hundred).lines

    assert plans(1000) < 1.25 * plans(100)
