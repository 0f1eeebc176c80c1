"""Binds a client to a backend by the address of the client."""

from balancers._internal.types import B
from balancers.addresses import Address, Prefixes
from balancers.balancer import Key
from balancers.http.request import Request
from balancers.keys import Identity, name_of
from balancers.pool import Pool
from balancers.sessions._identity_index import digest_of
from balancers.sessions.binding import Binding
from balancers.sessions.learned_sessions import LearnedSessions

__all__ = ["AddressSessions"]


class AddressSessions(LearnedSessions[B]):
    """Stores the backend of each client address, for clients that do not store cookies.

    Two addresses count as the same client if their first ``ipv4_prefix`` or ``ipv6_prefix`` bits
    are equal.  An IPv4-mapped IPv6 address is treated as IPv4.  A zone is ignored.

    ``issue`` stores the address of every client.  ``max_sessions`` limits the memory that a large
    number of addresses can use.  All clients behind one NAT count as one client.  A client that
    moves to another network counts as a new client.  Use cookies instead if the clients support
    them.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> sticky = AddressSessions(pool, ipv4_prefix=24)
    >>> found = sticky.resolve("192.0.2.1", now=0.0)
    >>> sticky.issue(pool.acquire(0.0, prefer=found.backend), wall=0.0, binding=found)
    >>> sticky.resolve("::ffff:192.0.2.77", now=1.0).backend
    'a'

    The cost is the cost of :class:`LearnedSessions` and of parsing the address.
    Raises the errors of :class:`LearnedSessions`, and InvalidSetting for an ``ipv4_prefix`` outside
    0 to 32 or an ``ipv6_prefix`` outside 0 to 128.
    """

    _learns_from_requests = True

    def __init__(
        self,
        pool: Pool[B],
        *,
        ipv4_prefix: int = 32,
        ipv6_prefix: int = 64,
        max_sessions: int = 100_000,
        idle_timeout: float = 600.0,
        identity: Identity[B] = name_of,
        failover: str = "rebind",
    ) -> None:
        super().__init__(
            pool,
            max_sessions=max_sessions,
            idle_timeout=idle_timeout,
            identity=identity,
            failover=failover,
        )
        self._prefixes = Prefixes(ipv4_prefix, ipv6_prefix)

    def resolve(
        self, session: Key | Address | Request | None, now: float, wall: float = 0.0
    ) -> Binding[B]:
        """Look up the backend of a client.

        ``session`` is the client's address, or a request whose ``client`` is that address.  If the
        request came through another proxy, its ``client`` is the address of that proxy.  Pass the
        client's own address in this case.  An address with a port is malformed.  Raises
        InvalidTime.
        """
        client = (session.client or None) if isinstance(session, Request) else session
        return super().resolve(client, now, wall)  # type: ignore[arg-type]  # the key accepts it

    def _key(self, session: object) -> bytes:
        return digest_of(self._prefixes.network(session))
