"""Implements spill-over: a region at its capacity passes the excess on to the next regions."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from math import inf
from typing import Any, NamedTuple, cast

from balancers._internal.checks import not_negative, shown
from balancers.addresses import Prefixes
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.gslb._policy import Policy
from balancers.gslb._prefixes import contained
from balancers.gslb.client import Client
from balancers.gslb.networks import narrowest, scope_of
from balancers.gslb.ranking import Part, Ranking
from balancers.gslb.region import Region

__all__ = ["SpillOver"]

_LENGTHS = {4: 24, 6: 56}
_CLIENTS = Prefixes(*_LENGTHS.values())
_HASHES = 2.0**-53


class SpillOver(Policy):
    """Passes the excess of regions at their capacity on to the next regions of a ranking.

    ``policy`` ranks the regions, and the ``capacity`` of a region is its greatest load.  Set by
    :meth:`set_demand` how much load the clients of each region make, in the same unit, for example
    requests per second.

    >>> from balancers.gslb import Distance, Place, Region
    >>> paris = Region("paris", ["a"], place=Place(latitude=48.9, longitude=2.4), capacity=1000)
    >>> dublin = Region("dublin", ["b"], place=Place(latitude=53.3, longitude=-6.3), capacity=1000)
    >>> policy = SpillOver(Distance([paris, dublin]))
    >>> policy.set_demand({"paris": 1250.0, "dublin": 300.0})
    >>> policy.keeps("paris"), policy.room("dublin")
    (0.8, 700.0)
    >>> lyon = Place(latitude=45.8, longitude=4.8)
    >>> clients = [Client(f"10.{i // 250}.{i % 250}.1", place=lyon) for i in range(1000)]
    >>> answers = [policy.answer(client, now=0.0).regions[0] for client in clients]
    >>> 150 < answers.count("dublin") < 250
    True

    A full region keeps as many of its clients as it has capacity for.  Each other client goes to
    the next healthy region of its ranking that has room.  The room is divided among all clients
    that pass on, so no region gets more than its capacity.  A full region takes none: two full
    regions do not exchange clients, and clients for which there is no room stay.

    The demand of a region is the load of all clients that prefer it, wherever they are answered;
    :meth:`home` returns the region that a client prefers.  So passing clients on does not change
    the demand, and nothing moves back and forth.  Do not pass the load that a region carries: it
    falls when clients pass on, and they would return at once.

    Which clients pass on follows from a hash of the network of the client (/24 or /56) and the name
    of the region.  It is the same in every process, and a small change of the demand moves few
    clients.  Clients without an address stay.  The scope is at least as long as these prefixes.

    A ranking is that of the policy, and O(n) more.  A ranking that is kept does not follow later
    demands.  Raises TypeError for a policy that is not one.  Raises InvalidSetting for a capacity
    of 0 and two regions with the same name.
    """

    def __init__(self, policy: Policy, *, name: str | None = None) -> None:
        if not isinstance(cast("object", policy), Policy):
            raise TypeError(f"policy must be a policy over regions, not {shown(policy)}")
        super().__init__([policy], name)
        self._policy = policy
        self._capacity = _capacities(policy)
        self._demand = dict.fromkeys(self._capacity, 0.0)
        self._excess = 0.0

    def set_demand(self, demand: Mapping[str, float]) -> None:
        """Set the load of the clients that prefer each region, by the name of the region; O(n).

        A region that is not in ``demand`` keeps its last one, which is 0 at first.  Raises
        UnknownBackend for a name that is no region of the policy, InvalidSetting for a load that is
        negative, NaN or infinite, and TypeError for other objects.
        """
        if not isinstance(cast("object", demand), Mapping):
            raise TypeError(f"demand must be a mapping of names to loads, not {shown(demand)}")
        for name in demand:
            if name not in self._capacity:
                raise UnknownBackend(name)
        self._demand.update(
            {
                name: not_negative(f"demand of {name}", load, unit="")
                for name, load in demand.items()
            }
        )
        pairs = zip(self._demand.values(), self._capacity.values(), strict=True)
        self._excess = sum(max(0.0, load - capacity) for load, capacity in pairs)

    def keeps(self, region: str) -> float:
        """Return the share of its clients that a region has capacity for; O(1).

        It is 1 if the region is not full.  Raises UnknownBackend.
        """
        capacity, demand = self._limits(region)
        return 1.0 if demand <= capacity else capacity / demand

    def room(self, region: str) -> float:
        """Return the load that a region can take from others; O(1).  Raises UnknownBackend."""
        capacity, demand = self._limits(region)
        return max(0.0, capacity - demand)

    def home(self, client: Client, now: float) -> str | None:
        """Return the name of the region that a client prefers; O(ranking).

        It is the first healthy region of the policy, whether it is full or not.  It is None if no
        region is healthy.  Raises InvalidTime.
        """
        home = _home(self._policy.rank(client, now), now)
        return None if home is None else home.name

    def scope(self, client: Client) -> int:
        scope = super().scope(client)
        if not self._excess or client.lookup is None:
            return scope
        return narrowest(scope, scope_of(client.lookup, _LENGTHS))

    def rank(self, client: Client, now: float) -> Ranking:
        ranking = self._policy.rank(client, now)
        address = client.lookup
        if not self._excess or address is None:
            return ranking
        home = _home(ranking, now)
        if home is None:
            return ranking
        keeps = self.keeps(home.name)
        if keeps == 1:
            return ranking
        why = f"{home.name} is full and keeps {100 * keeps:.3g} % of its clients: this one"
        drawn = _drawn(_CLIENTS.network(contained(address)[0]), home)
        if drawn < keeps:
            return _moved(ranking, home, f"{why} stays")
        left = (drawn - keeps) / (1 - keeps) * self._excess
        for part in ranking.parts:
            room = self.room(part.name)
            if room and part.healthy(now, client):
                left -= room
                if left < 0:
                    return _moved(ranking, part, f"{why} passes on")
        return _moved(ranking, home, f"{why} stays, because no region has room")

    def _limits(self, region: str) -> tuple[float, float]:
        if region not in self._capacity:
            raise UnknownBackend(region)
        return self._capacity[region], self._demand[region]


def _home(ranking: Ranking, now: float) -> Part | None:
    return next((part for part in ranking.parts if part.healthy(now, ranking.client)), None)


def _ranked_parts(part: Part) -> Iterator[Part]:
    """Yield the parts that a ranking can contain."""
    if part.draws or not isinstance(part, Policy):
        yield part
        return
    for inner in part.parts:
        yield from _ranked_parts(inner)


def _capacities(policy: Policy) -> dict[str, float]:
    """Return the capacities of all regions by name.  Raises InvalidSetting."""
    capacities: dict[str, float] = {}
    for part in dict.fromkeys(_ranked_parts(policy)):
        capacity = part.capacity if isinstance(part, Region) else inf
        if not capacity:
            raise InvalidSetting(f"capacity of {part.name} must be above 0, not {shown(capacity)}")
        if part.name in capacities:
            raise InvalidSetting(f"regions need different names: {shown(part.name)} is there twice")
        capacities[part.name] = capacity
    return capacities


def _drawn(network: bytes, part: Part) -> float:
    """Return a number of at least 0 and less than 1 for a client and a region."""
    name = part.name.encode("utf-8", "surrogatepass")
    digest = blake2b(network + name, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * _HASHES


def _moved(ranking: Ranking, first: Part, why: str) -> Ranking:
    """Return the ranking with one part moved to the front."""
    order = [*range(len(ranking))]
    order.sort(key=lambda at: ranking.parts[at] is not first)
    facts = [ranking.facts[at] for at in order]
    facts[0] = moved = _Moved(why, facts[0])
    described = partial(_described, moved, ranking.describe)
    return Ranking(ranking.client, [ranking.parts[at] for at in order], facts, described)


class _Moved(NamedTuple):
    """The fact of the part that spill-over moves to the front."""

    why: str
    fact: Any


def _described(moved: _Moved, describe: Callable[[Any], str], fact: Any) -> str:
    return f"{moved.why}; {describe(moved.fact)}" if fact is moved else describe(fact)
