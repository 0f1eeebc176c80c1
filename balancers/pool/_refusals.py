"""Decides about bound requests, and explains why no backend can be picked."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Generic, NoReturn

from balancers._internal.checks import shown
from balancers._internal.refusals import USUAL_REASONS, shared_reason
from balancers._internal.types import B
from balancers.errors import NoBackendAvailable
from balancers.gate import NoRoom
from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._member import Member
from balancers.pool._rooms import WithoutRoom, fits_at

__all__ = ["Refusals", "checked_among"]


class Refusals(Generic[B]):
    """Decides whether a member can serve a bound request, and creates the errors for refusals."""

    def __init__(
        self, by_backend: Mapping[B, Member[B]], gates: GateSet[B], census: Census
    ) -> None:
        self._by_backend = by_backend
        self._gates = gates
        self._census = census

    def honours(self, prefer: B, strict: bool, avoid: Collection[B]) -> bool:
        """Return whether the preferred backend can serve a bound request.

        If it cannot, and ``strict`` is True, NoBackendAvailable is raised.
        """
        member = self._by_backend.get(prefer)
        full, due = False, self._gates.due
        if member is None:
            reasons: tuple[str, ...] = ("unknown",)
        elif isinstance(avoid, WithoutRoom) and avoid.get(prefer):
            closing = self.closing_bound(member)
            reasons = tuple(dict.fromkeys((*avoid.reasons(prefer), *self._gates.reasons(closing))))
            full = self._fits_later(avoid[prefer], member, prefer)
            due = min(due, fits_at(avoid[prefer]))
        elif prefer in avoid:
            reasons = ("avoided",)
        elif not member.closed_by:
            return True
        else:
            closing = self.closing_bound(member)
            reasons = self._gates.reasons(closing)
            full = self._gates.only_limits(closing) or self._census.is_full(member.closed_by)
        if reasons and strict:
            reason = reasons[0] if len(reasons) == 1 else "mixed"
            self._census.count_refusal(reason)
            counts = dict.fromkeys(reasons, 1)
            raise NoBackendAvailable(reason, counts, due, int(full))
        return not reasons

    def listed(self, among: Sequence[B], avoid: Collection[B], prefer: B | None, bound: bool) -> B:
        """Return the preferred backend of a bound request, or the first admitted one of a list.

        Raises NoBackendAvailable.
        """
        if prefer is not None and bound:
            return prefer
        return self.first_admitted(among, avoid, prefer).backend

    def first_admitted(
        self,
        among: Sequence[B],
        avoid: Collection[B],
        prefer: B | None = None,
        limit: str | None = None,
    ) -> Member[B]:
        """Return the first of these backends that is a member, open and not avoided; O(among).

        ``limit`` is the reason of the limit of the pool, if this limit is reached; then none is
        returned.  Raises NoBackendAvailable, with the counts of these backends.  Its ``full`` and
        ``retry_at`` count the preferred backend too.
        """
        heeded = ~self._census.ignored
        limited = () if limit is None else (limit,)
        listed = dict.fromkeys(among)
        reasons: list[tuple[str, ...]] = []
        full, due = 0, self._gates.due
        for backend in listed:
            member = self._by_backend.get(backend)
            if member is None:
                reasons.append(("unknown",))
                continue
            closing = member.closed_by & heeded
            avoided = backend in avoid
            if not (closing or avoided or limited):
                return member
            rooms = _rooms(avoid, backend)
            if avoided and not rooms:
                reasons.append(self._gates.reasons(closing) or ("avoided",))
                continue
            named = (*(room.reason for room in rooms), *self._gates.reasons(closing), *limited)
            reasons.append(tuple(dict.fromkeys(named)))
            full += self._helps_to_wait(member, rooms, prefer, limit)
            due = min(due, fits_at(rooms))
        home = None if prefer is None or prefer in listed else self._by_backend.get(prefer)
        if home is not None:
            rooms = _rooms(avoid, home.backend)
            if rooms or home.backend not in avoid:
                full += self._helps_to_wait(home, rooms, prefer, limit)
                due = min(due, fits_at(rooms))
        counts = Counter(chain.from_iterable(reasons))
        reason = shared_reason(counts, len(reasons))
        self._census.count_refusal(reason)
        raise NoBackendAvailable(reason, dict(counts), due, full)

    def refuse_limited(
        self,
        limit: str,
        avoid: Collection[B],
        prefer: B | None,
        strict: bool,
        among: Sequence[B] | None,
    ) -> NoReturn:
        """Raise the error for a request while the limit of the pool is reached."""
        if among is not None and not (strict and prefer is not None):
            self.first_admitted(among, avoid, prefer, limit)
        raise self.refusal(avoid, prefer, limit, strict)

    def refusal_of(
        self, own: NoBackendAvailable, avoid: Collection[B], prefer: B | None
    ) -> NoBackendAvailable:
        """Return the error to raise when the balancer refused the request.

        If the balancer has a reason of its own, its reason is kept.  Otherwise it is the reason of
        :meth:`refusal`.
        """
        if own.reason in USUAL_REASONS:
            return self.refusal(avoid, prefer)
        return self.refusal(avoid, prefer, own=own)

    def closing_bound(self, member: Member[B]) -> int:
        """Return the combination of the reasons that refuse bound requests."""
        return self._gates.closed_to_bound(member.closed_by & ~self._census.ignored)

    def refusal(
        self,
        avoid: Collection[B],
        prefer: B | None,
        limit: str | None = None,
        strict: bool = False,
        own: NoBackendAvailable | None = None,
    ) -> NoBackendAvailable:
        """Return the error to raise when no backend can be picked; O(avoided + reasons).

        ``limit`` is the reason of the limit of the pool, if this limit is reached.  With
        ``strict``, nothing but this limit refuses the preferred backend.  ``own`` is the error of
        a balancer that has a reason of its own.
        """
        census, gates = self._census, self._gates
        if strict and prefer is not None:
            refused = census.refusal(gates.due, 0, limit)
            return NoBackendAvailable(refused.reason, refused.counts, refused.retry_at, 1)
        limited = limit is not None

        def is_full(member: Member[B]) -> bool:
            closed = member.closed_by & ~census.ignored
            return census.is_full(member.closed_by) or (limited and not closed)

        full = avoided = open_without_room = 0
        counts: Counter[str] = Counter()
        kinds, due = self._kinds(avoid, prefer)
        for member, rooms, number in kinds:
            closing = member.closed_by & ~census.ignored
            full -= number * is_full(member)
            avoided += number * (not closing)
            if rooms:
                open_without_room += number * (not closing)
                more = {room.reason for room in rooms}.difference(gates.reasons(closing))
                counts.update(dict.fromkeys(more, number))
                full += number * self._fits_later(rooms, member, prefer)
        home = None if prefer is None or prefer in avoid else self._by_backend.get(prefer)
        if home is not None and not is_full(home):
            closing = self.closing_bound(home)
            full += gates.only_limits(closing) or (limited and not closing)
        if own is not None:
            return census.refusal_for(own, due, full, counts, avoided - open_without_room)
        return census.refusal(due, full, limit, counts, open_without_room)

    def _kinds(
        self, avoid: Collection[B], prefer: B | None
    ) -> tuple[list[tuple[Member[B], tuple[NoRoom, ...], int]], float]:
        """Return one avoided member of each kind, with its rooms and the number of this kind.

        Two members are of one kind if the same reasons close them, and if their rooms differ in
        the time only.  The second result is the first time at which a gate changes or a cost fits.
        It takes little time per member: under overload, the pool avoids many.
        """
        rooms_of: Mapping[B, tuple[NoRoom, ...]] = (
            avoid if isinstance(avoid, WithoutRoom) else dict.fromkeys(avoid, ())
        )
        home = None if prefer is None else self._by_backend.get(prefer)
        kinds: dict[object, tuple[Member[B], tuple[NoRoom, ...]]] = {}
        numbers: dict[object, int] = {}
        due, get = self._gates.due, self._by_backend.get
        last: tuple[NoRoom, ...] = ()
        named: tuple[tuple[object, ...], ...] = ()
        for backend, rooms in rooms_of.items():
            member = get(backend)
            if member is None:
                continue
            if rooms is not last:
                last, named = rooms, tuple([(room.reason, room.full) for room in rooms])
                due = min(due, fits_at(rooms))
            kind = (member.closed_by, member is home, named)
            if kind in numbers:
                numbers[kind] += 1
            else:
                kinds[kind], numbers[kind] = (member, rooms), 1
        return [(*kinds[kind], number) for kind, number in numbers.items()], due

    def _helps_to_wait(
        self, member: Member[B], rooms: Collection[NoRoom], prefer: B | None, limit: str | None
    ) -> bool:
        """Return whether a member can serve when enough other requests have ended."""
        if rooms:
            return self._fits_later(rooms, member, prefer)
        limited = limit is not None
        if self._census.is_full(member.closed_by):
            return True
        if limited and not member.closed_by & ~self._census.ignored:
            return True
        if prefer is None or member is not self._by_backend.get(prefer):
            return False
        closing = self.closing_bound(member)
        return self._gates.only_limits(closing) or (limited and not closing)

    def _fits_later(self, rooms: Iterable[NoRoom], member: Member[B], prefer: B | None) -> bool:
        """Return whether a member without room can serve when enough other requests have ended."""
        if not all(room.full for room in rooms):
            return False
        if self._census.is_full(member.closed_by) or not member.closed_by & ~self._census.ignored:
            return True
        closing = self.closing_bound(member)
        is_home = prefer is not None and member is self._by_backend.get(prefer)
        return is_home and (not closing or self._gates.only_limits(closing))


def checked_among(among: object) -> None:
    """Raise TypeError unless ``among`` is a sequence of backends."""
    if not isinstance(among, Sequence) or isinstance(among, str | bytes | bytearray):
        raise TypeError(f"among must be a list of backends, not {shown(among)}")


def _rooms(avoid: Collection[B], backend: B) -> tuple[NoRoom, ...]:
    """Return why the cost of a request does not fit on a backend."""
    return avoid.get(backend, ()) if isinstance(avoid, WithoutRoom) else ()
