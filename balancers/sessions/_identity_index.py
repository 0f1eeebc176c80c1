"""Who is a member, by identity: how a token or a table names a backend across processes."""

from collections.abc import Iterable
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, cast

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import DuplicateBackend, ForeignLease, InvalidSetting
from balancers.keys import Identity, key_bytes
from balancers.pool import Lease, Pool
from balancers.pool._member import Account
from balancers.sessions.binding import CLOSED, UNKNOWN_BACKEND, Binding

if TYPE_CHECKING:
    from _collections_abc import dict_keys

__all__ = ["Roster", "ident_of"]

_SPARE = 16
"""So many that left may be remembered beyond one for each member."""


def ident_of(name: Key) -> bytes:
    """Give 16 bytes that stand for an identity, in any process: SHA-256, cut.

    Raises InvalidKey for a lone surrogate or an int beyond 64 bits, TypeError for what is no key.
    """
    return sha256(key_bytes(name)).digest()[:16]


class Roster(Generic[B]):
    """The members of a pool by identity, and what ``failover`` makes of one that is closed.

    It is kept lazily: a member is named once, when it is first missed, and one that left is known
    by its account.  So looking up costs O(1), and O(joined) after members joined.

    Raises DuplicateBackend for two members of one identity, InvalidSetting for a failover that is
    neither rebind nor strict.
    """

    def __init__(self, pool: Pool[B], identity: Identity[B], failover: str) -> None:
        if failover not in {"rebind", "strict"}:
            raise InvalidSetting(f"failover must be rebind or strict, not {failover!r}")
        self._pool = pool
        self._identity = identity
        self._strict = failover == "strict"
        self._members: dict[bytes, Account[B]] = {}
        self._idents: dict[Account[B], bytes] = {}
        self._seen = 0
        self._catch_up()

    def binding(self, ident: bytes, ticket: object, now: float | None = None) -> Binding[B]:
        """Bind to the member of this identity, as of ``now``; O(gates).  Raises InvalidTime."""
        account = self._live(ident)
        if account is None:
            self._catch_up()
            account = self._live(ident)
        if account is None:
            return Binding(None, UNKNOWN_BACKEND, False, ticket)
        reason = "" if self._pool.admits(account.backend, True, now) else CLOSED
        return Binding(account.backend, reason, self._strict, ticket)

    def ident(self, lease: Lease[B]) -> bytes | None:
        """Give the identity of a lease's backend, or None if that left meanwhile; O(1).

        Raises ForeignLease for a lease of another pool that is not yet released.
        """
        account, given = self._accounts.get(lease.backend), lease.account
        if given is not None and given is not account:
            if given.former:
                return None
            raise ForeignLease(f"of another pool: {lease!r}")
        if account is None:
            return None
        if account not in self._idents:
            self._catch_up()
        return self._idents[account]

    def members(self) -> Iterable[tuple[bytes, B]]:
        """Give each member's identity and the member, in order of joining; O(n)."""
        self._catch_up()
        return [(self._idents[account], backend) for backend, account in self._accounts.items()]

    @property
    def _accounts(self) -> MappingProxyType[B, Account[B]]:
        return cast("dict_keys[B, Account[B]]", self._pool.backends).mapping

    def _live(self, ident: bytes) -> Account[B] | None:
        account = self._members.get(ident)
        return None if account is None or account.former else account

    def _catch_up(self) -> None:
        """Name who joined since last asked: they stand at the end, with the highest numbers."""
        accounts = self._accounts
        fresh: list[Account[B]] = []
        for backend in reversed(accounts):
            account = accounts[backend]
            if account.number <= self._seen:
                break
            fresh.append(account)
        if not fresh:
            return
        named: dict[bytes, Account[B]] = {}
        for account in reversed(fresh):
            name = self._identity(account.backend)
            ident = ident_of(name)
            other = named.get(ident) or self._live(ident)
            if other is not None:
                raise DuplicateBackend(
                    f"{other.backend!r} and {account.backend!r} are both {name!r}"
                )
            named[ident] = account
        self._members.update(named)
        self._idents.update((account, ident) for ident, account in named.items())
        self._seen = fresh[0].number
        if len(self._idents) > 2 * len(accounts) + _SPARE:
            self._idents = {a: ident for a, ident in self._idents.items() if not a.former}
            self._members = {ident: account for account, ident in self._idents.items()}

    def __reduce__(self) -> tuple[object, ...]:
        failover = "strict" if self._strict else "rebind"
        return type(self), (self._pool, self._identity, failover)
