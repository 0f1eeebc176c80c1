"""IP hash: the same client, the same backend."""

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

    The key is an address as text, as its 4 or 16 packed bytes, or from :mod:`ipaddress`; the ports
    and names of a proxy are not.  Clients are told apart by the first ``ipv4_prefix`` or
    ``ipv6_prefix`` bits: by default one IPv4 address, one IPv6 /64, within which hosts change their
    addresses at will.  IPv4-mapped IPv6 is IPv4; a zone does not count.  Mind that all clients
    behind one NAT are one.

    Unless ``over`` another keyed balancer, it is plain modulo over the members sorted by name: even
    and simple, any positive weight the same, a flip moves only the clients of the one that flips,
    but joining or leaving moves nearly all.  ``over=HashRing()`` cures that, and honours weights.
    There are no ties.

    >>> lb = IPHash(["a", "b", "c"])
    >>> lb.pick("192.0.2.1") == lb.pick(bytes([192, 0, 2, 1])) == lb.pick("::ffff:192.0.2.1")
    True

    Cost: reading the address, and the ``pick`` of what it is over: O(1) while most are open.
    Raises InvalidSetting for a prefix out of range or an unkeyed balancer.
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
        """Every member and its weight: a read-only view."""
        return self._over.weights

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert or re-weigh; 0 quiesces.  Raises InvalidWeight, DuplicateBackend, TypeError."""
        self._over.put(backend, weight)

    def discard(self, backend: B) -> None:
        """Forget the backend; a stranger is fine."""
        self._over.discard(backend)

    def pick(
        self, key: Key | Address | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> B:
        """Give the client's backend.

        Raises MissingKey, InvalidKey for what is no address, NoBackendAvailable.
        """
        return self._over.pick(self._client(key), now, avoid)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Pass it on."""
        self._over.started(backend, now, bound)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Pass it on."""
        self._over.finished(backend, outcome, now)

    def _client(self, key: Key | Address | None) -> bytes:
        if key is None:
            raise MissingKey("IPHash picks by the client's address, and got none")
        return self._prefixes.network(key)

    def __repr__(self) -> str:
        return f"<IPHash over {self._over!r}>"
