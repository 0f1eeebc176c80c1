"""Implements latency: the region with the lowest latency first, and a table of latencies."""

from collections.abc import Iterable
from math import dist, inf
from typing import Any

from balancers._internal.checks import (
    at_least,
    duration,
    not_negative,
    number,
    shown,
    valid_now,
)
from balancers.addresses import Prefixes, address_of
from balancers.errors import InvalidSetting
from balancers.gslb._policy import Policy
from balancers.gslb._prefixes import contained
from balancers.gslb.client import Client
from balancers.gslb.distance import checked_places
from balancers.gslb.networks import narrowest, scope_of
from balancers.gslb.place import kilometres
from balancers.gslb.ranking import Part, Ranking

__all__ = ["Latency", "LatencyTable"]

_SECONDS_PER_KM = 2e-5
"""The round trip of light in fibre takes 1e-5 s for each kilometre of a straight cable.  Cables are
about twice as long as the great circle."""


class LatencyTable:
    """Stores measured latencies by the network of the client, and forgets old ones.

    Clients in one network, of ``ipv4_prefix`` or ``ipv6_prefix`` bits, share their latencies.  An
    IPv6 address that contains an IPv4 address counts as IPv4; see :class:`NetworkTable`.  A
    new measurement changes the stored latency by ``smoothing`` (above 0, up to 1) of the
    difference, so that a single slow answer moves no client.  A latency that was not measured for
    ``max_age`` seconds is unknown.  If there are more than ``size`` networks, that whose last
    measurement is the oldest is removed.

    >>> table = LatencyTable(max_age=600.0)
    >>> table.record("192.0.2.1", "tokyo", 0.010, now=0.0)
    >>> table.record("192.0.2.77", "tokyo", 0.020, now=60.0)
    >>> table.latencies("192.0.2.9", now=60.0), table.latencies("192.0.2.9", now=661.0)
    ({'tokyo': 0.0125}, {})

    ``record`` is O(1), and ``latencies`` is O(regions of the network).  Raises InvalidSetting for a
    setting outside its range.
    """

    def __init__(
        self,
        *,
        max_age: float = 3600.0,
        smoothing: float = 0.25,
        ipv4_prefix: int = 24,
        ipv6_prefix: int = 48,
        size: int = 100_000,
    ) -> None:
        self._max_age = duration("max_age", max_age, endless=True)
        smoothing = number("smoothing", smoothing)
        if not 0 < smoothing <= 1:
            raise InvalidSetting(f"smoothing must be above 0, up to 1, not {shown(smoothing)}")
        at_least(1, size=size)
        self._smoothing = smoothing
        self._prefixes = Prefixes(ipv4_prefix, ipv6_prefix)
        self._lengths = {4: ipv4_prefix, 6: ipv6_prefix}
        self._size = size
        self._now = -inf
        self._networks: dict[bytes, dict[str, tuple[float, float]]] = {}

    def record(self, client: object, region: str, seconds: float, now: float) -> None:
        """Store a latency between a client and a region, measured at ``now``; O(1).

        Raises InvalidKey for a client that is not an address, InvalidSetting for a latency that is
        negative, NaN or infinite, InvalidTime, and TypeError for a region that is not a text.
        """
        seconds = float(not_negative(f"latency of {shown(region)}", seconds))
        if not isinstance(region, str):
            raise TypeError(f"region must be the name of a region, not {shown(region)}")
        network = self._network(client)
        self._now = now = valid_now(now, self._now)
        known = self._networks.pop(network, None) or {}
        before, at = known.get(region, (seconds, now))
        if now - at <= self._max_age:
            seconds = before + self._smoothing * (seconds - before)
        known[region] = seconds, now
        self._networks[network] = known
        if len(self._networks) > self._size:
            del self._networks[next(iter(self._networks))]

    def latencies(self, client: object, now: float) -> dict[str, float]:
        """Return the latencies in seconds that are not too old, by the name of the region.

        Raises InvalidKey, InvalidTime.
        """
        now = valid_now(now, self._now)
        known = self._networks.get(self._network(client))
        if known is None:
            return {}
        oldest = now - self._max_age
        return {region: seconds for region, (seconds, at) in known.items() if at >= oldest}

    def scope(self, client: object) -> int:
        """Return the length of the prefix of the clients that share latencies with this one; O(1).

        It is counted in the address of the client, also in one that contains an IPv4 address.
        Raises InvalidKey.
        """
        return scope_of(address_of(client), self._lengths)

    def _network(self, client: object) -> bytes:
        return self._prefixes.network(contained(address_of(client))[0])

    def __len__(self) -> int:
        """Return the number of networks that are stored, also those whose latencies are old."""
        return len(self._networks)

    def __repr__(self) -> str:
        return f"<LatencyTable: {len(self)} networks>"


class Latency(Policy):
    """Ranks the regions by their latency to the client.

    A latency is that which the client brings, :attr:`Client.latencies`, else that of ``table`` for
    the network of its address.  A latency that is not known is estimated by the distance: 0.02 s
    per 1000 km.  So a region that was never measured is not preferred or avoided for that.  Without
    coordinates, an unknown region is behind all others.  Ties keep the given order.

    >>> from balancers.gslb import Client, Place, Region
    >>> tokyo = Region("tokyo", ["192.0.2.1"], place=Place(latitude=35.7, longitude=139.7))
    >>> dublin = Region("dublin", ["192.0.2.2"], place=Place(latitude=53.3, longitude=-6.3))
    >>> table = LatencyTable()
    >>> table.record("198.51.100.7", "tokyo", 0.031, now=0.0)
    >>> policy = Latency([dublin, tokyo], table=table)
    >>> client = Client("198.51.100.9", place=Place(latitude=50.1, longitude=8.7))
    >>> for ranked in policy.rank(client, now=60.0):
    ...     print(ranked.part.name, "-", ranked.reason)
    dublin - about 0.0218 s, estimated from 1091 km
    tokyo - 0.031 s, measured

    ``places`` is a database of places for clients without a place; see :meth:`Client.place_in`.

    A ranking is O(n log n).  Raises TypeError for parts that are no regions or policies.
    """

    def __init__(
        self,
        regions: Iterable[Part],
        *,
        table: LatencyTable | None = None,
        places: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(regions, name)
        if table is not None and not isinstance(table, LatencyTable):
            raise TypeError(f"table must be a LatencyTable or None, not {shown(table)}")
        self._table = table
        self._places = checked_places(places)
        places_of = (getattr(part, "place", None) for part in self.parts)
        self._vectors = [None if place is None else place.vector for place in places_of]

    def rank(self, client: Client, now: float) -> Ranking:
        known = self._known(client, now)
        place = None
        if any(part.name not in known for part in self.parts):
            place = client.place_in(self._places)
        here = None if place is None else place.vector
        order: list[tuple[float, int, bool]] = []
        for at, (part, there) in enumerate(zip(self.parts, self._vectors, strict=True)):
            seconds = known.get(part.name)
            if seconds is not None:
                order.append((seconds, at, True))
            elif here is None or there is None:
                order.append((inf, at, False))
            else:
                order.append((_SECONDS_PER_KM * kilometres(dist(here, there)), at, False))
        order.sort()
        parts = [self.parts[at] for _, at, _ in order]
        facts = [(seconds, measured) for seconds, _, measured in order]
        return self._ranking(client, now, parts, facts, _reason)

    def scope(self, client: Client) -> int:
        scopes = [super().scope(client), client.place_scope(self._places)]
        if client.latencies:
            scopes.append(client.longest_scope)
        if self._table is not None and client.lookup is not None:
            scopes.append(self._table.scope(client.lookup))
        return narrowest(*scopes)

    def _known(self, client: Client, now: float) -> dict[str, float]:
        if self._table is None or client.lookup is None:
            valid_now(now, -inf)
            return dict(client.latencies)
        return {**self._table.latencies(client.lookup, now), **client.latencies}


def _reason(fact: tuple[float, bool]) -> str:
    seconds, measured = fact
    if measured:
        return f"{seconds:.3g} s, measured"
    if seconds == inf:
        return "the latency and the distance are unknown"
    return f"about {seconds:.3g} s, estimated from {seconds / _SECONDS_PER_KM:.0f} km"
