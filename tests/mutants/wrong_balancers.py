"""Wrong ways to choose."""

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
from balancers.algorithms._list_cursor import lap_from
from balancers.algorithms._modulo import Modulo
from balancers.algorithms._sampling_balancer import DrawingMembership
from balancers.membership import Membership
from balancers.named_membership import NamedMembership
from tests.mutants.mutant import genuine, mutant

round_robin_pick = genuine(RoundRobin, "pick")
round_robin_flip = genuine(RoundRobin, "_flip")
round_robin_weigh = genuine(RoundRobin, "update_index")
weighted_put = genuine(WeightedRoundRobin, "put")
drawing_weigh = genuine(DrawingMembership, "update_index")
named_digest = genuine(NamedMembership, "hash_key")
named_new_name = genuine(NamedMembership, "_new_name")
ip_hash_init = genuine(IPHash, "__init__")
membership_discard = genuine(Membership, "discard")


def candidates(lb: Any, avoid: Any) -> dict[Any, float]:
    left = {b: weight for b, weight in lb.weights.items() if weight and b not in avoid}
    if not left:
        raise lb.refusal()
    return left


@mutant(RoundRobin, "pick", "algorithms/test_turns.py::test_avoid_uses_up_the_turn_of_the_avoided")
def a_retry_keeps_the_turn_of_the_avoided(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    return next(iter(candidates(self, avoid))) if avoid else round_robin_pick(self)


@mutant(
    RoundRobin,
    "_flip",
    "algorithms/test_turns.py::test_a_reopened_backend_still_has_its_turn_in_this_lap",
)
def the_lap_begins_again_at_every_flip(self: Any, backend: Any, serial: int) -> None:
    round_robin_flip(self, backend, serial)
    self._lap = lap_from(self._order, 0)


@mutant(RoundRobin, "update_index", "algorithms/test_turns.py::test_a_newcomer_joins_the_next_lap")
def a_newcomer_is_served_first(self: Any, backend: Any, old: Any, new: Any) -> None:
    round_robin_weigh(self, backend, old, new)
    if old is None and self._late_serial:
        self._lap = iter([backend, *self._order[1:]])


@mutant(
    WeightedRoundRobin, "pick", "test_known_bugs.py::test_footgun_11_turns_are_spread_not_bunched"
)
def turns_come_in_blocks(self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
    blocks = [b for b, weight in candidates(self, avoid).items() for _ in range(int(weight))]
    self.turn = getattr(self, "turn", -1) + 1
    return blocks[self.turn % len(blocks)]


@mutant(
    WeightedRoundRobin,
    "put",
    "test_known_bugs.py::test_footgun_02_weighted_mode_follows_every_change_of_weight",
)
def a_new_weight_is_not_noticed(self: Any, backend: Any, weight: float = 1) -> None:
    if not (weight and self.weights.get(backend)):
        weighted_put(self, backend, weight)


@mutant(
    WeightedRoundRobin, "put", "algorithms/test_nginx_vectors.py::test_alone[nginx_wrr_maxconns]"
)
def credits_do_not_survive_a_flip(self: Any, backend: Any, weight: float = 1) -> None:
    if weight and self.weights.get(backend) == 0:
        weights = dict(self.weights)
        for other in weights:
            membership_discard(self, other)
        for other, its in weights.items():
            weighted_put(self, other, its)
    weighted_put(self, backend, weight)


@mutant(LeastConnections, "pick", "algorithms/test_turns.py::test_ties_of_least_connections_rotate")
def the_first_in_the_list_gets_the_tie(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    return min(candidates(self, avoid), key=self._counts.__getitem__)


@mutant(
    WeightedLeastConnections,
    "pick",
    "algorithms/test_nginx_vectors.py::test_alone[nginx_leastconn_5_1_1_2]",
)
def counts_are_compared_whatever_the_weight(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    return min(candidates(self, avoid), key=lambda b: self._members[b].count)


@mutant(
    RandomChoice,
    "update_index",
    "algorithms/test_weighted_sampler.py::test_random_choice_is_proportional_to_weight",
)
def chance_is_blind_to_weight(self: Any, backend: Any, old: Any, new: Any) -> None:
    drawing_weigh(self, backend, old and 1, new and 1)


@mutant(
    RandomChoice,
    "_note",
    "algorithms/test_weighted_sampler.py::test_random_choice_follows_its_weights_between_flips",
)
def what_was_drawn_ahead_is_served_late(self: Any, backend: Any, before: Any, after: Any) -> None:
    return


def better_of(lb: Any, first: Any, second: Any, *, weighted: bool = True) -> Any:
    def load(backend: Any) -> float:
        candidate = lb._candidates[backend]
        return float(candidate.in_flight / (candidate.weight if weighted else 1))

    return second if load(second) < load(first) else first


@mutant(
    PowerOfTwoChoices,
    "pick",
    "test_known_bugs.py::test_footgun_08_choices_are_drawn_without_replacement",
)
def the_same_one_is_drawn_twice(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    left = candidates(self, avoid)
    return better_of(self, *choices([*left], [*left.values()], k=2))


@mutant(
    PowerOfTwoChoices,
    "pick",
    "test_known_bugs.py::test_footgun_10_loads_are_compared_for_their_weight",
)
def loads_are_compared_whatever_the_weight(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    first, second = self._rng.sample([*candidates(self, avoid)], 2)
    return better_of(self, first, second, weighted=False)


@mutant(Modulo, "pick", "hashing/test_hash_ring.py::test_a_flip_moves_only_its_clients[None]")
def modulo_counts_only_the_open(
    self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()
) -> Any:
    left = sorted(candidates(self, avoid))
    return left[self.hash_key(key) % len(left)]


@mutant(
    IPHash,
    "__init__",
    "test_known_bugs.py::test_footgun_20_clients_behind_one_network_are_told_apart",
)
def a_whole_network_is_one_client(self: Any, *arguments: Any, **named: Any) -> None:
    ip_hash_init(self, *arguments, **{"ipv4_prefix": 24} | named)


@mutant(
    NamedMembership,
    "hash_key",
    "bad_input/test_bad_keys.py::"
    "test_an_unkeyed_balancer_ignores_the_key_and_a_keyed_one_needs_it[HashRing]",
)
def no_key_is_some_key(self: Any, key: Any) -> int:
    return 0 if key is None else named_digest(self, key)


@mutant(
    HashRing,
    "pick",
    "hashing/test_hash_ring.py::test_a_newcomer_takes_keys_and_a_leaver_gives_only_its_own[None]",
)
def a_ring_that_is_modulo(self: Any, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
    left = sorted(candidates(self, avoid))
    return left[self.hash_key(key) % len(left)]


@mutant(
    HashRing,
    "_new_name",
    "test_known_bugs.py::test_footgun_19_the_order_of_the_list_does_not_matter[HashRing]",
)
def points_hang_on_the_place_in_the_list(self: Any, backend: Any) -> bytes:
    return bytes(named_new_name(self, backend)) + b"#%d" % len(self._names)


@mutant(
    HashRing,
    "pick_hashed",
    "hashing/test_hash_ring.py::test_everyone_is_visited_before_a_ring_gives_up",
)
def a_walk_that_gives_up_early(self: Any, digest: int, avoid: Any = ()) -> Any:
    if self._stale:
        self._refresh()
    for owner in self._circle.owners[digest >> self._circle.shift]:
        if owner not in self._closed and owner not in avoid:
            return owner
    raise self.refusal()
