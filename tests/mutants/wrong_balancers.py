"""Wrong ways to pick a backend."""

from random import choices
from typing import Any

from balancers import (
    HashRing,
    IPHash,
    LeastConnections,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.algorithms._list_cursor import cursor_at
from balancers.algorithms._modulo import Modulo
from balancers.algorithms._sampling_balancer import SamplingBalancer
from balancers.membership import Membership
from balancers.named_membership import NamedMembership
from tests.mutants.mutant import genuine, mutant

round_robin_pick = genuine(RoundRobin, "pick")
round_robin_flip = genuine(RoundRobin, "_flip")
round_robin_update_index = genuine(RoundRobin, "update_index")
weighted_put = genuine(WeightedRoundRobin, "put")
sampling_update_index = genuine(SamplingBalancer, "update_index")
named_hash_key = genuine(NamedMembership, "hash_key")
named_new_name = genuine(NamedMembership, "_new_name")
ip_hash_init = genuine(IPHash, "__init__")
membership_discard = genuine(Membership, "discard")


def candidates(lb: Any, avoid: Any) -> dict[Any, float]:
    left = {b: weight for b, weight in lb.weights.items() if weight and b not in avoid}
    if not left:
        raise lb.refusal()
    return left


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
    return min(candidates(self, avoid), key=self._counts.__getitem__)


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
        return float(candidate.in_flight / (candidate.weight if weighted else 1))

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


@mutant(Modulo, "pick", "hashing/test_hash_ring.py::test_a_flip_moves_only_its_clients[None]")
def modulo_uses_only_open_backends(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    left = sorted(candidates(self, avoid))
    return left[self.hash_key(key) % len(left)]


@mutant(
    IPHash,
    "__init__",
    "test_known_bugs.py::test_clients_of_one_network_are_distinguished",
)
def a_network_is_one_client(self: Any, *arguments: Any, **named: Any) -> None:
    ip_hash_init(self, *arguments, **{"ipv4_prefix": 24} | named)


@mutant(
    NamedMembership,
    "hash_key",
    "bad_input/test_bad_keys.py::"
    "test_an_unkeyed_balancer_ignores_the_key_and_a_keyed_one_needs_it[HashRing]",
)
def a_missing_key_is_accepted(self: Any, key: Any) -> int:
    return 0 if key is None else named_hash_key(self, key)


@mutant(
    HashRing,
    "pick",
    "hashing/test_hash_ring.py::test_joining_takes_keys_and_leaving_moves_only_its_own[None]",
)
def a_ring_uses_modulo(self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
    left = sorted(candidates(self, avoid))
    return left[self.hash_key(key) % len(left)]


@mutant(
    HashRing,
    "_new_name",
    "test_known_bugs.py::test_the_order_of_the_list_does_not_matter[HashRing]",
)
def points_depend_on_the_order_of_the_list(self: Any, backend: Any) -> bytes:
    return bytes(named_new_name(self, backend)) + b"#%d" % len(self._names)


@mutant(
    HashRing,
    "pick_hashed",
    "hashing/test_hash_ring.py::test_a_pick_visits_every_backend_before_it_refuses",
)
def the_search_for_an_open_backend_ends_early(self: Any, digest: int, avoid: Any = ()) -> Any:
    if self._stale:
        self._refresh()
    for owner in self._circle.owners[digest >> self._circle.shift]:
        if owner not in self._closed and owner not in avoid:
            return owner
    raise self.refusal()
