"""Implements IP hash: the same client always gets the same backend."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from balancers._internal.checks import as_weights, shown
from balancers._internal.forwarding import ForwardsReports
from balancers._internal.plans import plan_of
from balancers._internal.taken import take, wrapping
from balancers._internal.types import B
from balancers.addresses import Address, Prefixes
from balancers.algorithms._modulo import Modulo
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidSetting, MissingKey, UnknownBackend
from balancers.keys import Hasher, Identity, Murmur3, name_of
from balancers.outcome import SUCCESS, Outcome

__all__ = ["IPHash"]


class IPHash(ForwardsReports[B], Balancer[B]):
    """Picks a backend by the address of the client.

    The key is an address: a text, 4 or 16 packed bytes, or an object of :mod:`ipaddress`.  A host
    name, or an address with a port, raises InvalidKey.

    Two addresses belong to the same client if their first bits are equal: ``ipv4_prefix`` bits for
    IPv4, and ``ipv6_prefix`` bits for IPv6.  By default, each IPv4 address and each IPv6 /64 is one
    client, because a host may change its address within a /64 at any time.  An IPv4-mapped IPv6
    address counts as IPv4.  The zone of an address is ignored.  All clients behind one NAT count as
    one client.

    ``over`` is a keyed balancer that picks by these bits.  The default is modulo hashing over the
    members, sorted by name.  It is simple, and it distributes the clients evenly.  All positive
    weights have the same effect.  If the weight of a backend changes to or from 0, only its own
    clients move.  If a backend joins or leaves, nearly all clients move.  With ``over=HashRing()``
    few clients move, and weights are honoured.  There are no ties.  From then on, ``over`` belongs
    to this balancer.

    >>> lb = IPHash(["a", "b", "c"])
    >>> lb
    <IPHash: over <Modulo: 3 of 3 open>>
    >>> lb.pick("192.0.2.1") == lb.pick(bytes([192, 0, 2, 1])) == lb.pick("::ffff:192.0.2.1")
    True

    Cost: the parsing of the address and the ``pick`` of ``over``.  By default this is O(1) while
    most members are open.  Raises InvalidSetting if a prefix is outside its range or if ``over`` is
    not keyed, and AlreadyInUse if ``over`` belongs to a pool or another balancer.
    """

    keyed = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        over: Balancer[B] | None = None,
        ipv4_prefix: int = 32,
        ipv6_prefix: int = 64,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._prefixes = Prefixes(ipv4_prefix, ipv6_prefix)
        if over is None:
            over = Modulo(identity=identity, hasher=hasher)
        elif isinstance(over, type) or not getattr(over, "keyed", False):
            raise InvalidSetting(f"over must be a keyed balancer, not {shown(over)}")
        self._over = over
        self.fractional: bool = over.fractional
        given = as_weights(() if backends is None else backends)
        with wrapping(over):
            for backend, weight in given.items():
                over.put(backend, weight)

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member, as a read-only view."""
        return self._over.weights

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight.

        A backend of weight 0 stays a member, but it is not picked.  Raises InvalidWeight,
        DuplicateBackend, TypeError.
        """
        self._over.put(backend, weight)

    def discard(self, backend: B) -> None:
        """Remove the backend.  The call is ignored if the backend is not a member."""
        self._over.discard(backend)

    def pick(
        self, key: Key | Address | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> B:
        """Return the backend of the client.

        Raises MissingKey, NoBackendAvailable.  Raises InvalidKey if the key is not an address.
        """
        return self._over.pick(self._network(key), now, avoid)

    def plan(
        self,
        n: int,
        key: Key | Address | None = None,
        now: float = 0.0,
        avoid: Collection[B] = (),
    ) -> list[B]:
        """Return the plan of ``over`` for the client: ``n`` different backends in its order.

        Raises MissingKey, InvalidSetting, NoBackendAvailable.  Raises InvalidKey if the key is not
        an address, and NotPlannable if ``over`` has no ``plan``.

        >>> lb = IPHash(["a", "b", "c"])
        >>> lb.plan(3, "192.0.2.1")
        ['b', 'a', 'c']
        """
        return plan_of(self._over)(n, self._network(key), now, avoid)

    def hash_key(self, key: Key | Address | None) -> int:
        """Return a 64-bit hash of the client: that of ``over``, or MurmurHash3 if it has none.

        All addresses of one client have the same hash.  Raises MissingKey, InvalidKey.
        """
        network = self._network(key)
        hash_key: Callable[[Key], int] | None = getattr(self._over, "hash_key", None)
        return Murmur3()(network) if hash_key is None else hash_key(network)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.  ``over`` is informed."""
        self._over.started(backend, now, bound)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  ``over`` is informed."""
        self._over.finished(backend, outcome, now)

    def load_of(self, backend: B, now: float = 0.0) -> float | None:
        """Return the load of a member if ``over`` compares loads, else None.

        Raises UnknownBackend.
        """
        if backend not in self._over.weights:
            raise UnknownBackend(backend)
        load_of: Callable[[B, float], float | None] | None = getattr(self._over, "load_of", None)
        return None if load_of is None else load_of(backend, now)

    def _network(self, key: Key | Address | None) -> bytes:
        if key is None:
            raise MissingKey("key must be the client's address, not None")
        return self._prefixes.network(key)

    def _informed(self) -> Balancer[B]:
        return self._over

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        take(self._over)

    def __repr__(self) -> str:
        return f"<IPHash: over {self._over!r}>"
