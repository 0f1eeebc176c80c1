"""Implements tiers: backends that serve only when those of the tiers before are not enough.

Source: the priorities of Envoy, and the backup servers of nginx.
"""

from collections.abc import Callable, Iterable, Sequence

from balancers._internal.checks import checked_callable, shown
from balancers._internal.shares import fill
from balancers._internal.types import B
from balancers.algorithms._tier import Factor
from balancers.algorithms._tiered import Tiered
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting

__all__ = ["Tiers"]


class Tiers(Tiered[B]):
    """Uses the backends of a tier only as far as the tiers before it are not available.

    ``balancers`` are the balancers of the tiers, the first tier first.  They may be of different
    kinds.  ``tier`` is a function that returns the tier of a backend, as an index of ``balancers``.
    It is called once, when the backend joins.

    The availability of a tier is ``min(1, factor · healthy / total)``.  A tier gets requests up to
    its availability, then the next tier gets requests, and so on.  If the sum of the availabilities
    is below 1, the requests are divided in proportion to them.  This is the rule of Envoy, whose
    factor is 1.4: a tier gets all requests while five of seven members are healthy.  With
    ``factor=inf``, a tier gets all requests while one member is healthy.  This is the rule of the
    backup servers of nginx.

    A pool reports the condition of each member, and a member counts by its condition and not by its
    weight.  Members that are leaving (drained, quiesced, or of weight 0 without a pool) do not
    count.  All others are the ``total``.  Those that are not down are ``healthy``.  A member that
    only limits close is healthy, because it serves: so the shares stay, and no request moves to
    another tier for good.  But while all members of a tier are full or avoided, its requests
    *overflow*: they go to the next tier that can serve them, and after the last tier to the tiers
    before.  With ``overflow=False``, a request of a tier that is full is refused, with the reason
    "saturated", and may wait.  A retry that has tried all members goes on to the next tier.  A
    refused request has used a turn of its tier, so that it does not stop those of other tiers.

    If no member is healthy, and the pool fails open, the requests are divided in proportion to the
    numbers of members that can be picked, as in Envoy.

    The shares are exact.  They are served in turns that are spread out evenly.  With two tiers, the
    number of turns of a tier never differs by more than a half from the sum of its shares, however
    these change.  With n tiers, it differed by less than n / 2 in all tests.

    If a balancer is keyed, the hash of the key selects the tier instead.  Then the keys that go
    beyond a tier are a fixed set: when this tier and those before it become less available, keys
    are only added to it.

    The balancers belong to this balancer from then on, and their members are its members.  Change
    members through this balancer only.  ``fractional`` is True if it is True for all balancers,
    and ``keyed`` if it is True for one of them.

    >>> from balancers import LeastConnections
    >>> lb = Tiers(
    ...     [LeastConnections(["a1", "a2", "a3", "a4"]), LeastConnections(["b1", "b2"])],
    ...     tier=lambda backend: "ab".index(backend[0]),
    ... )
    >>> lb.condition_changed("a1", "down")
    >>> lb.condition_changed("a2", "down")
    >>> lb.shares
    (Fraction(7, 10), Fraction(3, 10))

    Cost: O(1) more than the inner balancer while one tier has all requests, otherwise O(tiers)
    more.  Raises InvalidSetting for an empty list, for a ``factor`` that is not above 0, and for a
    backend whose tier is not an index of ``balancers``.  Raises AlreadyInUse for a balancer of a
    pool or of another balancer.  Raises TypeError for an object that is not a balancer.
    """

    def __init__(
        self,
        balancers: Iterable[Balancer[B]],
        *,
        tier: Callable[[B], int],
        factor: float = 1.4,
        overflow: bool = True,
    ) -> None:
        self._factor = Factor(factor)
        self._place = checked_callable("tier", tier)
        super().__init__(balancers, overflow)

    @property
    def factor(self) -> float:
        """By how much a tier of healthy members has more capacity than it needs."""
        return self._factor.value

    def _place_of(self, backend: B) -> int:
        place: object = self._place(backend)
        if type(place) is not int or not 0 <= place < len(self._tiers):
            last = len(self._tiers) - 1
            raise InvalidSetting(
                f"tier of {shown(backend)} must be an int from 0 to {last}, not {shown(place)}"
            )
        return place

    def _parts(self) -> list[int]:
        available, whole = self._factor.availabilities(self._tiers)
        return fill(available, whole)

    def _place_of_hash(self, digest: int, parts: Sequence[int]) -> int:
        scaled, place = digest * sum(parts), 0
        edge = parts[0] << 64
        while edge <= scaled:
            place += 1
            edge += parts[place] << 64
        return place

    def _known_backends(self) -> Iterable[object]:
        return (*self._weights, self._place)  # the function is the caller's, so copies share it

    def __repr__(self) -> str:
        inner = ", ".join(repr(tier.balancer) for tier in self._tiers)
        return f"<Tiers: factor={self.factor!r}, over {inner}>"
