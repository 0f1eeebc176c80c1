"""Joins heartbeats and owners: which balancers are alive, and what each of them owns now."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Generic, NamedTuple

from balancers._internal.copying import SharesBackends
from balancers._internal.types import B, T
from balancers.errors import AlreadyInUse, UnknownBackend
from balancers.redundancy.answer_set import AnswerSet, answer_set
from balancers.redundancy.failure_detector import FailureDetector
from balancers.redundancy.member_change import MemberChange
from balancers.redundancy.owners import Owners

__all__ = ["Cluster", "OwnerChange"]


class OwnerChange(NamedTuple):
    """Describes that an address has another owner from now on.

    If ``after`` is this balancer, install the address and announce it.  If ``before`` is this
    balancer, withdraw the address.

    >>> OwnerChange(at=3.0, address="192.0.2.2", before="lb2", after="lb1").after
    'lb1'
    """

    at: float
    """The time in seconds of the last change of a member that caused it, or of the update."""
    address: Any
    before: Any
    after: Any
    """The balancer, or None if no balancer that may own addresses is alive."""


class Cluster(SharesBackends, Generic[T, B]):
    """Keeps the owners of all addresses up to date with the heartbeats of the balancers.

    Each of several active load balancers has such an object.  ``me`` is the balancer that it runs
    on, which is always alive.  ``owners`` has all balancers, and must be equal on each of them.
    ``detector`` is a new failure detector without members.  From ``now`` on, all others count as
    alive until their first heartbeat is overdue.

    Pass each heartbeat that arrives to :meth:`heartbeat`, and call :meth:`tick` when :attr:`due` is
    reached.  Both return what has changed: first the members, and then the owners.

    >>> from balancers.redundancy import Owners, TimeoutDetector
    >>> owners = Owners(["192.0.2.1", "192.0.2.2"], ["lb1", "lb2"])
    >>> cluster = Cluster("lb1", owners, TimeoutDetector(timeout=3.0), now=0.0)
    >>> cluster.owned, cluster.due
    (('192.0.2.2',), 3.0)
    >>> for change in cluster.tick(now=3.0):
    ...     print(change)
    MemberChange(at=3.0, member='lb2', alive=False, reason='silent')
    OwnerChange(at=3.0, address='192.0.2.1', before='lb2', after='lb1')
    >>> cluster.heartbeat("lb2", now=4.0)[1].after
    'lb2'

    *A divided network.*  Balancers that do not receive each other's heartbeats each take over the
    addresses of the others: an address then has one owner in each part of the network.  Nothing in
    this object can prevent it.  It ends with the first heartbeats after the network is joined
    again, because the owners depend only on who is alive.

    Raises UnknownBackend if ``me`` is not one of the balancers, AlreadyInUse for a detector that
    has members, and InvalidTime.
    """

    def __init__(
        self, me: B, owners: Owners[T, B], detector: FailureDetector[B], now: float
    ) -> None:
        if me not in owners.balancers:
            raise UnknownBackend(me)
        if detector.members:
            raise AlreadyInUse("a cluster needs a failure detector without members")
        now = detector.advance(now)
        self._me: B = me
        self._owners: Owners[T, B] = owners
        self._detector: FailureDetector[B] = detector
        for balancer in owners.balancers:
            if balancer != me:
                detector.add(balancer, now)
        self._assigned: dict[T, B | None] = owners.assign(self.alive)

    def heartbeat(
        self, member: B, now: float, incarnation: int = 0, number: int | None = None
    ) -> tuple[MemberChange | OwnerChange, ...]:
        """Record a heartbeat, and return what has changed: see :meth:`FailureDetector.heartbeat`.

        A heartbeat of this balancer itself is dropped.  O(1), or O(addresses) if something has
        changed.  Raises InvalidTime, InvalidSetting.
        """
        return self._after(self._detector.heartbeat(member, now, incarnation, number))

    def leave(
        self, member: B, now: float, incarnation: int = 0, number: int | None = None
    ) -> tuple[MemberChange | OwnerChange, ...]:
        """Record the goodbye of a member, and return what has changed.

        See :meth:`FailureDetector.leave`.  Raises InvalidTime, InvalidSetting.
        """
        return self._after(self._detector.leave(member, now, incarnation, number))

    def tick(self, now: float) -> tuple[MemberChange | OwnerChange, ...]:
        """Suspect the members that have been silent for too long, and return what has changed.

        See :meth:`FailureDetector.tick`.  Raises InvalidTime.
        """
        return self._after(self._detector.tick(now))

    def update(self, owners: Owners[T, B], now: float) -> tuple[OwnerChange, ...]:
        """Replace the configuration, and return the addresses whose owner has changed.

        New balancers count as alive until their first heartbeat is overdue.  What is known about
        the others is kept.  A new address has no owner ``before``, and a removed one has no owner
        ``after``.  Raises UnknownBackend if this balancer is not in the configuration, and
        InvalidTime.
        """
        balancers = owners.balancers
        if self._me not in balancers:
            raise UnknownBackend(self._me)
        now = self._detector.advance(now)
        known = self._detector.members
        for balancer in known:
            if balancer not in balancers:
                self._detector.remove(balancer)
        for balancer in balancers:
            if balancer != self._me and balancer not in known:
                self._detector.add(balancer, now)
        self._owners = owners
        return tuple(self._reassigned(now))

    @property
    def due(self) -> float:
        """The time in seconds when :meth:`tick` is to be called next, or ``inf``; O(members)."""
        return self._detector.due

    @property
    def alive(self) -> tuple[B, ...]:
        """``me`` and the balancers that are not suspected, in the order of the configuration."""
        living = {self._me, *self._detector.alive}
        return tuple(balancer for balancer in self._owners.balancers if balancer in living)

    @property
    def owners(self) -> dict[T, B | None]:
        """The owner of each address.  It is None if no balancer that may own it is alive."""
        return dict(self._assigned)

    @property
    def owned(self) -> tuple[T, ...]:
        """The addresses that this balancer owns now; O(addresses)."""
        return tuple(address for address, owner in self._assigned.items() if owner == self._me)

    def answer_set(
        self, addresses: Mapping[B, object], turn: int = 0, most: int | None = None
    ) -> AnswerSet:
        """Return :func:`answer_set` of the balancers that are alive.  Raises InvalidSetting."""
        return answer_set(addresses, self.alive, turn, most)

    def _after(self, changes: tuple[MemberChange, ...]) -> tuple[MemberChange | OwnerChange, ...]:
        if not changes:
            return ()
        return (*changes, *self._reassigned(changes[-1].at))

    def _reassigned(self, at: float) -> list[OwnerChange]:
        before, self._assigned = self._assigned, self._owners.assign(self.alive)
        return [
            OwnerChange(at, address, before.get(address), self._assigned.get(address))
            for address in dict.fromkeys(chain(before, self._assigned))
            if before.get(address) != self._assigned.get(address)
        ]

    def _known_backends(self) -> Iterable[object]:
        return chain((self._me,), self._owners.balancers, self._owners.addresses)

    def __repr__(self) -> str:
        alive, total = len(self.alive), len(self._owners.balancers)
        return f"<Cluster: {alive} of {total} alive, {len(self.owned)} addresses owned>"
