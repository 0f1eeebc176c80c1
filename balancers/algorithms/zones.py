"""Implements zones: groups of backends whose shares are set by weights or by distance.

Source: the locality-weighted load balancing and the zone-aware routing of Envoy.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, lcm, log
from typing import Any, cast

from balancers._internal.checks import checked_callable, shown, valid_weight
from balancers._internal.exact import exact
from balancers._internal.types import B
from balancers.algorithms._tier import Factor
from balancers.algorithms._tiered import Tiered
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting
from balancers.keys import key_bytes

__all__ = ["Zones"]

_DRAWN_FROM = 1 << 52
"""The number of different values that are made of a hash.  All of them are exact floats."""


class Zones(Tiered[B]):
    """Divides the requests among zones, by weights, or with a preference for the local zone.

    ``balancers`` maps the name of each zone to the balancer that picks in it.  ``zone`` is a
    function that returns the name of a backend's zone.  It is called once, when the backend joins.

    With ``weights``, the share of a zone is in proportion to
    ``weight · min(1, factor · healthy / total)``.  This is the locality-weighted rule of Envoy.
    A zone of weight 0 is used only if no other zone has a healthy member that is not full.  A pool
    that panics does not change this.

    >>> from balancers import RoundRobin
    >>> zones = Zones(
    ...     {"a": RoundRobin(["a1", "a2"]), "b": RoundRobin(["b1", "b2"])},
    ...     zone=lambda backend: backend[0],
    ...     weights={"a": 1, "b": 2},
    ... )
    >>> zones.condition_changed("b1", "down")
    >>> zones.shares
    (Fraction(5, 12), Fraction(7, 12))

    With ``local`` and ``clients``, most requests stay in the zone ``local``, and every backend
    still gets the same load.  This is the zone-aware routing of Envoy.  ``clients`` maps each zone
    to the number of clients in it: processes that balance as this one does, which is in the zone
    ``local`` itself.  If the local zone has at least its share of the healthy backends, compared
    with its share of the clients, all requests stay in it.  Otherwise it gets the quotient of the
    two shares.  The zones that have more backends than their clients need get the rest, in
    proportion to what they have left.

    >>> zones = Zones(
    ...     {"a": RoundRobin(["a1"]), "b": RoundRobin(["b1", "b2"])},
    ...     zone=lambda backend: backend[0],
    ...     local="a",
    ...     clients={"a": 3, "b": 3},
    ... )
    >>> zones.shares
    (Fraction(2, 3), Fraction(1, 3))

    Which members count as healthy, overflow, turns, and the balancers that are passed are the same
    as in :class:`Tiers`.  For zones inside of tiers, pass a Zones object to Tiers as a balancer.
    If a balancer is keyed, the hash of the key selects the zone, by weighted rendezvous hashing
    over the names of the zones.  So if the share of one zone changes, keys move only from or to
    this zone.

    Cost: O(1) more than the inner balancer while one zone has all requests, otherwise O(zones)
    more.  Raises InvalidSetting unless either ``weights``, or ``local`` and ``clients`` are given,
    with a number for each zone, and for a ``factor`` that is not above 0 or a backend whose zone
    is unknown.  Raises InvalidWeight for a number that is not finite or below 0.  Raises
    AlreadyInUse for a balancer of a pool or of another balancer, and TypeError for an object that
    is not a balancer.
    """

    def __init__(
        self,
        balancers: Mapping[str, Balancer[B]],
        *,
        zone: Callable[[B], str],
        weights: Mapping[str, float] | None = None,
        local: str | None = None,
        clients: Mapping[str, float] | None = None,
        factor: float = 1.4,
        overflow: bool = True,
    ) -> None:
        given: Any = balancers
        if not isinstance(given, Mapping):
            raise TypeError(
                f"balancers must be a mapping of zones to balancers, not {shown(given)}"
            )
        self._factor = Factor(factor)
        self._zone = checked_callable("zone", zone)
        self._places = {name: place for place, name in enumerate(balancers)}
        self._names = [key_bytes(name) for name in self._places]
        if (local is None) is (weights is None) or (local is None) is not (clients is None):
            raise InvalidSetting("either weights, or local and clients must be given")
        if local is not None and not (isinstance(local, str) and local in self._places):
            raise InvalidSetting(f"local must be a zone, not {shown(local)}")
        self._local = local
        self._numbers = self._checked(weights if clients is None else clients)
        super().__init__(balancers.values(), overflow)

    @property
    def zones(self) -> tuple[str, ...]:
        """The names of the zones, in the order of ``balancers`` and ``shares``; O(zones)."""
        return tuple(self._places)

    @property
    def local(self) -> str | None:
        """The name of the preferred zone, or None if the shares are set by weights."""
        return self._local

    def reweigh(self, numbers: Mapping[str, float]) -> None:
        """Replace the weights of the zones, or their numbers of clients if there is a local zone.

        Cost: O(zones).  Raises InvalidSetting, InvalidWeight.
        """
        self._numbers = self._checked(numbers)
        self._forget_parts()

    def _checked(self, numbers: Any) -> list[int]:
        """Return one int for each zone, in proportion to the numbers."""
        name = "weights" if self._local is None else "clients"
        known = _checked_mapping(name, numbers)
        if known.keys() != self._places.keys():
            raise InvalidSetting(f"{name} must have a number for each zone, not {shown(known)}")
        exactly = [exact(valid_weight(known[zone], zone)) for zone in self._places]
        if not any(exactly):
            raise InvalidSetting(f"{name} must include a positive number, not {shown(known)}")
        if self._local is not None and not known[self._local]:
            raise InvalidSetting(f"{name} must be positive for the local zone, not 0")
        unit = lcm(*(each.denominator for each in exactly))
        return [int(each * unit) for each in exactly]

    def _place_of(self, backend: B) -> int:
        zone: Any = self._zone(backend)
        try:
            return self._places[zone]
        except (KeyError, TypeError):
            known = ", ".join(map(shown, self._places))
            raise InvalidSetting(
                f"zone of {shown(backend)} must be one of {known}, not {shown(zone)}"
            ) from None

    def _parts(self) -> list[int]:
        if self._local is None:
            available, _ = self._factor.availabilities(self._tiers)
            return [weight * part for weight, part in zip(self._numbers, available, strict=True)]
        clients, local = self._numbers, self._places[self._local]
        backends = [tier.healthy for tier in self._tiers]
        # the shares of the backends and of the clients, with a common denominator
        capacity = [count * sum(clients) for count in backends]
        demand = [count * sum(backends) for count in clients]
        if capacity[local] >= demand[local]:
            return [count * (place == local) for place, count in enumerate(backends)]
        spare = [max(0, has - needs) for has, needs in zip(capacity, demand, strict=True)]
        parts = [(demand[local] - capacity[local]) * each for each in spare]
        parts[local] = capacity[local] * sum(spare)
        return parts

    def _place_of_hash(self, digest: int, parts: Sequence[int]) -> int:
        whole, hashed = sum(parts), digest.to_bytes(8, "little")
        best, lowest = -1, inf
        for place, part in enumerate(parts):
            share = part / whole
            if share:
                drawn = (self._hash(hashed + self._names[place]) >> 12) + 0.5
                score = -log(drawn / _DRAWN_FROM) / share
                if best < 0 or score < lowest:
                    best, lowest = place, score
        return best

    def _known_backends(self) -> Iterable[object]:
        return (*self._weights, self._zone)  # the function is the caller's, so copies share it

    def __repr__(self) -> str:
        named = zip(self._places, self._tiers, strict=True)
        return f"<Zones: {', '.join(f'{zone!r}: {tier.balancer!r}' for zone, tier in named)}>"


def _checked_mapping(name: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping from the names of zones, not {shown(given)}")
    return cast("Mapping[str, Any]", given)
