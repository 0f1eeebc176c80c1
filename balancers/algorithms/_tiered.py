"""Defines the base class of balancers that divide the requests among other balancers."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from fractions import Fraction

from balancers._internal.checks import NO_BACKENDS, at_least, check_flags, checked_avoid
from balancers._internal.plans import plan_of
from balancers._internal.refusals import USUAL_REASONS, has_room_later
from balancers._internal.types import B
from balancers.algorithms._inner_balancers import InnerBalancers
from balancers.algorithms._tier import Tier
from balancers.algorithms._turns import Turns
from balancers.balancer import Balancer, Key
from balancers.errors import MissingKey, NoBackendAvailable
from balancers.keys import Hasher, Murmur3, key_bytes

__all__ = ["Tiered"]

_BITS = (1 << 64) - 1
_SEED = 0x7EE5
"""The seed for hashes of hashes, which determine the tiers of keys."""


class Tiered(InnerBalancers[B]):
    """Divides the requests among inner balancers, each of which has some of the members.

    A subclass defines :meth:`_place_of`, :meth:`_parts` and :meth:`_place_of_hash`.
    """

    def __init__(self, balancers: Iterable[Balancer[B]], overflow: bool) -> None:
        check_flags(overflow=overflow)
        self._overflow = overflow
        self._present: list[int] = []  # the parts now; empty after a change
        self._failing_open = False  # whether the parts are the numbers of usable members
        self._whole: Tier[B] | None = None  # the tier that gets all requests
        self._only: Balancer[B] | None = None  # its balancer, while it has a usable member
        super().__init__(balancers)
        self._turns = Turns(len(self._tiers))
        self._hash: Hasher = Murmur3(_SEED)

    @property
    def overflow(self) -> bool:
        """Whether a request goes to another tier when the members of its tier are full."""
        return self._overflow

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The share of the requests that each inner balancer gets now; O(tiers).

        The sum is 1.  If no backend can be picked, all shares may be 0.
        """
        parts, _ = self._present_parts()
        whole = sum(parts) or 1
        return tuple(Fraction(part, whole) for part in parts)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the backend that the inner balancer of the request picks.

        The cost is that of its ``pick``.  While several tiers have a share, or with ``avoid``, it
        is O(tiers) more.  Raises NoBackendAvailable.  If an inner balancer is keyed, raises
        MissingKey and InvalidKey.
        """
        if key is None and self.keyed:
            raise MissingKey("key must not be None, because an inner balancer is keyed")
        if avoid is NO_BACKENDS:
            if self._only is not None:
                try:
                    return self._only.pick(key, now)
                except NoBackendAvailable:  # all its members are full, or it has other reasons
                    pass
            elif self._present and not self.keyed:  # as below, but faster
                tier = self._tiers[self._turns.next()]
                if tier.usable:
                    try:
                        backend = tier.balancer.pick(key, now)
                    except NoBackendAvailable:
                        pass
                    else:
                        self._turns.take()
                        return backend
        else:
            avoid = checked_avoid(avoid)
        return self._pick_in_order(key, now, avoid)

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return up to ``n`` backends: the plan of the inner balancer of the request, and so on.

        If it has fewer backends, those of the next tiers follow, in the order of overflow.  Only
        the first of these balancers takes a turn.  So the others, if they pick in turn or by
        chance, have the same first backend in each plan until they take one; :meth:`pick` with
        ``avoid`` takes their turns.  The plans of others that are not keyed are made by copies,
        which is O(members) for each.  Raises InvalidSetting unless ``n`` is an int of 1 or more,
        NotPlannable if one of the balancers has no plan, and what :meth:`pick` raises.

        >>> from balancers import RoundRobin
        >>> from balancers.algorithms import Tiers
        >>> inner = [RoundRobin(["a1", "a2"]), RoundRobin(["b1"])]
        >>> lb = Tiers(inner, tier=lambda backend: "ab".index(backend[0]))
        >>> lb.plan(3), lb.pick()
        (['a1', 'a2', 'b1'], 'a2')
        """
        at_least(1, n=n)
        if key is None and self.keyed:
            raise MissingKey("key must not be None, because an inner balancer is keyed")
        avoid = checked_avoid(avoid)
        for tier in self._tiers:
            plan_of(tier.balancer)
        ranked: list[B] = []
        failed: NoBackendAvailable | None = None
        for tier in self._in_order(key):
            if tier.usable and len(ranked) < n:
                pure = not ranked or tier.balancer.keyed
                planner = tier.balancer if pure else deepcopy(tier.balancer)
                try:
                    ranked += plan_of(planner)(n - len(ranked), key, now, avoid)
                except NoBackendAvailable as error:
                    failed = failed or _own(error, avoid)
            if full := self._waits_for(tier, avoid):
                if not ranked:
                    raise self._refused(full)
                break
        if not ranked:
            raise failed or self.refusal()
        self._take_turn()
        return ranked

    def hash_key(self, key: Key | None) -> int:
        """Return the 64-bit hash that determines the inner balancer of a key.

        It is a hash of the hash that the first keyed balancer uses.  So it says nothing about the
        backend that this balancer picks.  Raises MissingKey, InvalidKey.
        """
        if key is None:
            raise MissingKey("key must not be None")
        keyed = (tier.method("hash_key") for tier in self._tiers if tier.balancer.keyed)
        hash_key = next(keyed, None)
        if hash_key is None:
            return self._hash(key_bytes(key))
        return self._hash((hash_key(key) & _BITS).to_bytes(8, "little"))

    @abstractmethod
    def _parts(self) -> list[int]:
        """Return the parts of the requests that the inner balancers get.

        All parts are 0 if no member is healthy.
        """

    @abstractmethod
    def _place_of_hash(self, digest: int, parts: Sequence[int]) -> int:
        """Return the index of the inner balancer of a 64-bit hash.

        Each gets its part of the hashes.  At least one part is positive.
        """

    def _present_parts(self) -> tuple[list[int], bool]:
        """Return the parts, and whether they are the numbers of usable members.

        They are if no member is healthy: a pool that fails open uses members that are down.  If
        only balancers without a part have healthy members, the parts are the numbers of these.
        """
        parts = self._parts()
        if not any(parts):
            parts = [tier.healthy for tier in self._tiers]
        return (parts, False) if any(parts) else ([tier.usable for tier in self._tiers], True)

    def _divide(self) -> bool:
        """Compute the parts, if something has changed.  Return False if all of them are 0."""
        if not self._present:
            parts, self._failing_open = self._present_parts()
            whole = sum(parts)
            if not whole:
                return False
            self._turns.divide(parts)
            self._whole = self._tiers[parts.index(whole)] if whole in parts else None
            self._present = parts
            self._find_only()
        return True

    def _numbers_changed(self, healthy: bool) -> None:
        if healthy or self._failing_open:
            self._forget_parts()
        else:
            self._find_only()

    def _forget_parts(self) -> None:
        self._present, self._whole, self._only = [], None, None

    def _find_only(self) -> None:
        whole = self._whole
        if whole is None or not whole.usable or (self.keyed and not whole.balancer.keyed):
            self._only = None  # a balancer that is not keyed would not check the key
        else:
            self._only = whole.balancer

    def _pick_in_order(self, key: Key | None, now: float, avoid: Collection[B]) -> B:
        failed: NoBackendAvailable | None = None
        for tier in self._in_order(key):
            if tier.usable:
                try:
                    backend = tier.balancer.pick(key, now, avoid)
                except NoBackendAvailable as error:
                    failed = failed or _own(error, avoid)
                else:
                    self._take_turn()
                    return backend
            if full := self._waits_for(tier, avoid):
                raise self._refused(full)
        raise failed or self.refusal()

    def _in_order(self, key: Key | None) -> Iterator[Tier[B]]:
        """Yield the tiers in the order in which a request is offered to them.

        The first is the one whose turn it is.  The next ones come before the previous ones, and
        those without a healthy member last.
        """
        digest = self.hash_key(key) if self.keyed else None
        if not self._divide():
            return
        tiers = self._tiers
        first = self._turns.next() if digest is None else self._place_of_hash(digest, self._present)
        yield tiers[first]
        yield from sorted((*tiers[first + 1 :], *tiers[:first]), key=lambda tier: not tier.healthy)

    def _take_turn(self) -> None:
        if not self.keyed:
            self._turns.take()

    def _waits_for(self, tier: Tier[B], avoid: Collection[B]) -> int:
        """Return for how many full members of this tier a request waits; O(avoided).

        It may not overflow, and has not tried these members yet.  A pool also avoids open members
        whose limit has no room for the cost of the request.  They are full for this request.
        """
        if self._overflow:
            return 0
        full = tier.full
        for backend in {*avoid} if avoid else ():
            if self._tier_of.get(backend) is tier:
                waits = has_room_later(backend, avoid)
                if self._weights[backend]:
                    full += waits
                elif self._conditions.get(backend) == "full":
                    full -= not waits
        return full

    def _refused(self, full: int) -> NoBackendAvailable:
        self._take_turn()
        return NoBackendAvailable("saturated", {"saturated": full}, full=full)


def _own(error: NoBackendAvailable, avoid: Collection[object]) -> NoBackendAvailable | None:
    """Return the error of an inner balancer, or None if it may only say that all are avoided."""
    return None if avoid and error.reason in USUAL_REASONS else error
