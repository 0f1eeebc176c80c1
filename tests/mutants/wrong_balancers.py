"""Wrong ways to pick a backend without a key."""

from random import choices
from typing import Any

from balancers import (
    LeastConnections,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.algorithms._list_cursor import cursor_at
from balancers.algorithms._sampling_balancer import SamplingBalancer
from balancers.membership import Membership
from tests.mutants.mutant import candidates, genuine, mutant

round_robin_pick = genuine(RoundRobin, "pick")
round_robin_flip = genuine(RoundRobin, "_flip")
round_robin_update_index = genuine(RoundRobin, "update_index")
weighted_put = genuine(WeightedRoundRobin, "put")
least_update_index = genuine(LeastConnections, "update_index")
sampling_update_index = genuine(SamplingBalancer, "update_index")
membership_discard = genuine(Membership, "discard")


@mutant(RoundRobin, "pick", "algorithms/test_turns.py::test_an_avoided_backend_has_used_its_turn")
def a_retry_does_not_use_the_turn_of_avoided_backends(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    return next(iter(candidates(self, avoid))) if avoid else round_robin_pick(self)


@mutant(
    RoundRobin,
    "_flip",
    "algorithms/test_turns.py::test_a_reopened_backend_still_has_its_turn_in_this_cycle",
)
def the_cycle_starts_again_at_every_flip(self: Any, backend: Any, serial: int) -> None:
    round_robin_flip(self, backend, serial)
    self._cycle = cursor_at(self._order, 0)


@mutant(
    RoundRobin,
    "_flip",
    "algorithms/test_turns.py::test_a_backend_that_reopens_after_its_turn_waits_for_the_next_cycle",
)
def a_backend_that_reopens_gets_its_turn_again(self: Any, backend: Any, serial: int) -> None:
    self._passed_serial = min(self._passed_serial, serial - 1)
    round_robin_flip(self, backend, serial)


@mutant(
    RoundRobin, "update_index", "algorithms/test_turns.py::test_a_new_backend_joins_the_next_cycle"
)
def a_new_backend_is_picked_first(self: Any, backend: Any, old: Any, new: Any) -> None:
    round_robin_update_index(self, backend, old, new)
    if old is None and self._joining_serial:
        self._cycle = iter([backend, *self._order[1:]])


@mutant(WeightedRoundRobin, "pick", "test_known_bugs.py::test_turns_are_evenly_spread")
def turns_come_in_blocks(self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
    blocks = [b for b, weight in candidates(self, avoid).items() for _ in range(int(weight))]
    self.turn = getattr(self, "turn", -1) + 1
    return blocks[self.turn % len(blocks)]


@mutant(
    WeightedRoundRobin,
    "put",
    "test_known_bugs.py::test_a_change_of_weight_takes_effect",
)
def a_change_of_weight_is_ignored(self: Any, backend: Any, weight: float = 1) -> None:
    if not (weight and self.weights.get(backend)):
        weighted_put(self, backend, weight)


@mutant(
    WeightedRoundRobin,
    "put",
    "algorithms/test_nginx_vectors.py::test_a_balancer_alone_picks_as_nginx[nginx_wrr_maxconns]",
)
def current_weights_are_lost_at_a_flip(self: Any, backend: Any, weight: float = 1) -> None:
    if weight and self.weights.get(backend) == 0:
        weights = dict(self.weights)
        for other in weights:
            membership_discard(self, other)
        for other, its in weights.items():
            weighted_put(self, other, its)
    weighted_put(self, backend, weight)


@mutant(LeastConnections, "pick", "algorithms/test_turns.py::test_ties_of_least_connections_rotate")
def the_first_in_the_list_wins_ties(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    return min(candidates(self, avoid), key=self.load_of)


@mutant(
    LeastConnections,
    "update_index",
    "algorithms/test_turns.py::test_many_backends_that_reopen_keep_their_places",
)
def a_flip_moves_a_backend_to_the_last_place(self: Any, backend: Any, old: Any, new: Any) -> None:
    least_update_index(self, backend, old, new)
    if old is not None and new is not None:
        self._move(backend, 0)
        if new:
            self._closed_in_ties.discard(backend)
        else:
            self._closed_in_ties.add(backend)


@mutant(
    WeightedLeastConnections,
    "pick",
    "algorithms/test_nginx_vectors.py::test_a_balancer_alone_picks_as_nginx[nginx_leastconn_5_1_1_2]",
)
def counts_are_compared_without_the_weight(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    return min(candidates(self, avoid), key=lambda b: self._members[b].count)


@mutant(
    RandomChoice,
    "update_index",
    "algorithms/test_weighted_sampler.py::test_random_choice_is_proportional_to_weight",
)
def random_choice_ignores_weights(self: Any, backend: Any, old: Any, new: Any) -> None:
    sampling_update_index(self, backend, old and 1, new and 1)


@mutant(
    RandomChoice,
    "_record_change",
    "algorithms/test_weighted_sampler.py::test_random_choice_follows_its_weights_between_flips",
)
def samples_are_not_discarded_after_a_change(
    self: Any, backend: Any, before: Any, after: Any
) -> None:
    return


def less_busy_of(lb: Any, first: Any, second: Any, *, weighted: bool = True) -> Any:
    def load(backend: Any) -> float:
        candidate = lb._candidates[backend]
        in_flight = candidate.busy_steps / candidate.step
        return float(in_flight / (candidate.weight if weighted else 1))

    return second if load(second) < load(first) else first


@mutant(
    PowerOfTwoChoices,
    "pick",
    "test_known_bugs.py::test_choices_are_sampled_without_replacement",
)
def choices_are_sampled_with_replacement(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    left = candidates(self, avoid)
    return less_busy_of(self, *choices([*left], [*left.values()], k=2))


@mutant(
    PowerOfTwoChoices,
    "pick",
    "test_known_bugs.py::test_loads_are_compared_per_weight",
)
def loads_are_compared_without_the_weight(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    first, second = self._rng.sample([*candidates(self, avoid)], 2)
    return less_busy_of(self, first, second, weighted=False)
