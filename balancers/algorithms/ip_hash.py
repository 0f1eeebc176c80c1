"""IP hash: the same client gets the same backend."""

from collections.abc import Collection, Iterable, Mapping

from balancers._internal.checks import as_weights
from balancers._internal.types import B
from balancers.addresses import Address, Prefixes
from balancers.algorithms._modulo import Modulo
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidSetting, MissingKey
from balancers.keys import Hasher, Identity, name_of
from balancers.outcome import SUCCESS, Outcome

__all__ = ["IPHash"]


class IPHash(Balancer[B]):
    """Picks by the client's address.

    The key is an address: as text, as 4 or 16 packed bytes, or from :mod:`ipaddress`.  A host name,
    or an address with a port, is refused.  The first ``ipv4_prefix`` or ``ipv6_prefix`` bits
    distinguish clients.  By default a client is one IPv4 address, or one IPv6 /64, because hosts
    change their address within a /64 at any time.  An IPv4-mapped IPv6 address counts as IPv4; a
    zone is ignored.  All clients behind one NAT count as one client.

    ``over`` is a keyed balancer that picks by these bits.  The default is modulo hashing over the
    members sorted by name: even and simple, any positive weight is the same, and a flip moves only
    the clients of the backend that flips, but a backend that joins or leaves moves nearly all
    clients.  ``over=HashRing()`` avoids this, and honours weights.  There are no ties.

    >>> lb = IPHash(["a", "b", "c"])
    >>> lb
    <IPHash: over <Modulo: 3 of 3 open>>
    >>> lb.pick("192.0.2.1") == lb.pick(bytes([192, 0, 2, 1])) == lb.pick("::ffff:192.0.2.1")
    True

    Cost: parsing the address, and the ``pick`` of ``over``; by default O(1) while most members are
    open.  Raises InvalidSetting for a prefix out of range or if ``over`` is not keyed.
    """

    keyed = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
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
        elif not over.keyed:
            raise InvalidSetting(f"over must be a keyed balancer, not {type(over).__name__}")
        self._over = over
        self.fractional = over.fractional
        for backend, weight in as_weights(backends).items():
            over.put(backend, weight)

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member: a read-only view."""
        return self._over.weights

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight; 0 quiesces it.

        Raises InvalidWeight, DuplicateBackend, TypeError.
        """
        self._over.put(backend, weight)

    def discard(self, backend: B) -> None:
        """Remove the backend.  Ignored if it is not a member."""
        self._over.discard(backend)

    def pick(
        self, key: Key | Address | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> B:
        """Return the client's backend.

        Raises MissingKey, InvalidKey for a key that is not an address, NoBackendAvailable.
        """
        return self._over.pick(self._network(key), now, avoid)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts: forwarded to ``over``."""
        self._over.started(backend, now, bound)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends: forwarded to ``over``."""
        self._over.finished(backend, outcome, now)

    def _network(self, key: Key | Address | None) -> bytes:
        if key is None:
            raise MissingKey("key must be the client's address, not None")
        return self._prefixes.network(key)

    def __repr__(self) -> str:
        return f"<IPHash: over {self._over!r}>"
