"""Implements distance: the nearest region first."""

from collections.abc import Iterable, Mapping
from math import dist
from typing import Any, cast

from balancers._internal.checks import at_least, shown
from balancers.errors import InvalidSetting
from balancers.gslb._policy import Policy
from balancers.gslb.client import Client
from balancers.gslb.networks import narrowest
from balancers.gslb.place import Place, all_kilometres
from balancers.gslb.ranking import Part, Ranking

__all__ = ["Distance"]


class Distance(Policy):
    """Ranks the regions by the length of the great circle between the client and the region.

    >>> from balancers.gslb import Client, Place, Region
    >>> tokyo = Region("tokyo", ["192.0.2.1"], place=Place(latitude=35.7, longitude=139.7))
    >>> dublin = Region("dublin", ["192.0.2.2"], place=Place(latitude=53.3, longitude=-6.3))
    >>> virginia = Region("virginia", ["192.0.2.3"], place=Place(latitude=39.0, longitude=-77.5))
    >>> policy = Distance([tokyo, dublin, virginia])
    >>> london = Client(place=Place(latitude=51.5, longitude=-0.1))
    >>> for ranked in policy.rank(london, now=0.0):
    ...     print(ranked.part.name, "-", ranked.reason)
    dublin - 466 km away
    virginia - 5923 km away
    tokyo - 9558 km away

    ``regions`` are regions with a place, or a mapping of parts to places.  A region with a bias b
    counts as nearer or farther, as in the geoproximity policy of Route 53: the distance is
    multiplied by ``1 - b/100`` for a positive b, and divided by ``1 + b/100`` for a negative one.

    The client's place is its own, else that which ``places``, any object with ``get(address)``,
    returns for its address; see :meth:`Client.place_in`.  If the place is unknown, the order is the
    given one.  With ``limit``, only so many of the nearest regions are in the ranking; gdnsd's
    ``auto_dc_limit`` is 3.  Ties keep the given order.

    A ranking is O(n log n).  Raises InvalidSetting for a region without coordinates, one that
    occurs twice, and a limit below 1.
    """

    def __init__(
        self,
        regions: Iterable[Part] | Mapping[Part, Place],
        *,
        places: Any = None,
        limit: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(regions, name)
        if limit is not None:
            at_least(1, limit=limit)
        self._limit = limit
        self._places = checked_places(places)
        given: dict[Part, object] = {part: getattr(part, "place", None) for part in self.parts}
        if isinstance(regions, Mapping):
            given.update(cast("Mapping[Part, Place]", regions))
        self._vectors = [located(part, given[part]) for part in self.parts]
        biases: list[float] = [getattr(part, "bias", 0) for part in self.parts]
        self._biases = biases if any(biases) else None
        self._as_given = tuple(
            f"the place of the client is unknown, number {at} of {len(self.parts)}"
            for at in range(1, len(self.parts) + 1)
        )

    def rank(self, client: Client, now: float) -> Ranking:
        place = client.place_in(self._places)
        here = None if place is None else place.vector
        if here is None:
            return self._ranking(client, now, self.parts, self._as_given)
        parts, vectors, biases = self.parts, self._vectors, self._biases
        away = [dist(here, there) for there in vectors]
        if biases is not None:
            away = [*map(biased, all_kilometres(away), biases)]
        order = sorted(range(len(parts)), key=away.__getitem__)[: self._limit]
        nearest = [parts[at] for at in order]
        if biases is None:
            facts = all_kilometres([away[at] for at in order])
            return self._ranking(client, now, nearest, facts, _distance)
        pairs = [(away[at], biases[at]) for at in order]
        return self._ranking(client, now, nearest, pairs, _biased_distance)

    def scope(self, client: Client) -> int:
        return narrowest(super().scope(client), client.place_scope(self._places))


def located(part: Part, place: object) -> tuple[float, float, float]:
    """Return the vector of a part.  Raises TypeError, InvalidSetting."""
    if place is not None and not isinstance(place, Place):
        raise TypeError(f"the place of {part.name} must be a Place, not {shown(place)}")
    if place is None or place.vector is None:
        raise InvalidSetting(f"{part.name} must have a place with coordinates, not {shown(place)}")
    return place.vector


def checked_places(places: Any) -> Any:
    """Return the database of places.  Raise TypeError unless it has a method ``get`` or is None."""
    if places is not None and not callable(getattr(places, "get", None)):
        raise TypeError(f"places must be an object with get(address), not {shown(places)}")
    return places


def biased(distance: float, bias: float) -> float:
    """Return the distance that a region with a bias counts as.

    >>> biased(300.0, 50), biased(300.0, -50), biased(300.0, 0)
    (150.0, 600.0, 300.0)
    """
    return distance * (1 - bias / 100) if bias > 0 else distance / (1 + bias / 100)


def _distance(kilometres: float) -> str:
    return f"{kilometres:.0f} km away"


def _biased_distance(fact: tuple[float, float]) -> str:
    counted, bias = fact
    if not bias:
        return f"{counted:.0f} km away"
    distance = counted / (1 - bias / 100) if bias > 0 else counted * (1 + bias / 100)
    return f"{distance:.0f} km away, counts as {counted:.0f} km with bias {bias:g}"
