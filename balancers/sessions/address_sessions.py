"""Sessions by the client's address."""

from balancers._internal.types import B
from balancers.addresses import Address, Prefixes
from balancers.balancer import Key
from balancers.http.request import Request
from balancers.keys import Identity, name_of
from balancers.pool import Pool
from balancers.sessions._identity_index import ident_of
from balancers.sessions.binding import Binding
from balancers.sessions.learned_sessions import LearnedSessions

__all__ = ["AddressSessions"]


class AddressSessions(LearnedSessions[B]):
    """A table from clients' addresses to backends, for those who keep no cookie.

    Clients are told apart by the first ``ipv4_prefix`` or ``ipv6_prefix`` bits; IPv4-mapped IPv6 is
    IPv4, and a zone does not count.  ``issue`` remembers every address, so ``max_sessions`` bounds what a
    flood of them can take.  All clients behind one NAT are one, and one that roams is another: a
    cookie is better wherever there can be one.

    >>> from balancers import Pool, RoundRobin
    >>> pool = Pool(RoundRobin(["a", "b"]))
    >>> sticky = AddressSessions(pool, ipv4_prefix=24)
    >>> found = sticky.resolve("192.0.2.1", now=0.0)
    >>> sticky.issue(pool.acquire(0.0, prefer=found.backend), wall=0.0, binding=found)
    >>> sticky.resolve("::ffff:192.0.2.77", now=1.0).backend
    'a'

    Cost: reading the address, and that of :class:`LearnedSessions`.
    Raises what that raises, and InvalidSetting for a prefix out of range.
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
        """Find the client's backend, by its address or by a request's ``client``.

        Behind another proxy the latter is the proxy's: give the client's own.  Addresses come
        without a port; with one they are malformed.  Raises InvalidTime.
        """
        client = (session.client or None) if isinstance(session, Request) else session
        return super().resolve(client, now, wall)  # type: ignore[arg-type] # what _key takes

    def _key(self, session: object) -> bytes:
        return ident_of(self._prefixes.network(session))
