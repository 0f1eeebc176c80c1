"""Wrong ways to find the backend of a key, a client or a session."""

from typing import Any

from balancers import HashRing, IPHash
from balancers.algorithms._modulo import Modulo
from balancers.hashing import BoundedLoad
from balancers.hashing.circle import Circle
from balancers.named_membership import NamedMembership
from balancers.routing import Split
from balancers.sessions._identity_index import IdentityIndex
from tests.mutants.mutant import candidates, genuine, mutant

named_hash_key = genuine(NamedMembership, "hash_key")
named_new_name = genuine(NamedMembership, "_new_name")
ip_hash_init = genuine(IPHash, "__init__")
first_below = genuine(BoundedLoad, "_first_below")
split_pick = genuine(Split, "pick")


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


@mutant(
    Circle,
    "_first_point_changed",
    "hashing/test_ring.py::test_a_pick_agrees_with_a_batch_while_the_ring_empties",
)
def only_one_empty_cell_follows_a_change(self: Any, cell: int) -> None:
    first = self.owners[cell][0]
    for before in range(cell - 1, max(cell - 3, cell - 1 - len(self.owners)), -1):
        self.owners[before] = (*self.owners[before][:-1], first)
        if self.cells[before]:
            return


@mutant(
    BoundedLoad,
    "_first_below",
    "hashing/test_bounded_load.py::"
    "test_the_bound_per_backend_is_exact_in_every_state_of_three_backends[weights0-1-1]",
)
def slack_is_ignored(self: Any, *arguments: Any) -> Any:
    slack, self._slack = self._slack, 0
    try:
        return first_below(self, *arguments)
    finally:
        self._slack = slack


@mutant(Split, "pick", "routing/test_split.py::test_a_retry_can_try_each_value_once")
def avoided_values_bid_too(self: Any, key: Any, avoid: Any = ()) -> Any:
    if avoid and not {value for _, _, value in self._bidders} - {*avoid}:
        raise self._refusal()
    return split_pick(self, key)


@mutant(
    IdentityIndex,
    "keeps",
    "sessions/test_full_backends.py::"
    "test_a_session_that_was_learned_anew_meanwhile_follows_the_later_result",
)
def the_binding_of_another_backend_keeps_a_session(self: Any, binding: Any, digest: bytes) -> bool:
    entry = self._current(digest)
    if entry is None or (binding.reason and not binding.full):
        return False
    full: bool = self._pool.full(entry[0])
    return full or bool(binding.full and self._pool.admits(entry[0], True))


@mutant(
    IdentityIndex,
    "keeps",
    "sessions/test_full_backends.py::test_a_session_stays_with_a_full_backend[table]",
)
def a_session_leaves_a_backend_that_is_still_full(self: Any, binding: Any, digest: bytes) -> bool:
    entry = self._current(digest)
    if entry is None or entry[0] != binding.backend or (binding.reason and not binding.full):
        return False
    return bool(binding.full and self._pool.admits(entry[0], True))
