"""Finds what a request would get, and changes nothing.

The pick is made by a copy of the balancer.  If the pool has to apply changes first, because gates
are due or a kept member leaves, the members and the gates are copied too.  So the result is right
for every balancer and gate whose copies behave like the original.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from copy import copy, deepcopy
from typing import Any, Generic, NamedTuple, cast

from balancers._internal.checks import shown
from balancers._internal.copying import remember, share
from balancers._internal.types import B
from balancers.balancer import Balancer, Key
from balancers.errors import BalancersError, InvalidPick, NoBackendAvailable, NotCopyable
from balancers.event import Event
from balancers.pool._census import Census
from balancers.pool._gate_set import GateSet
from balancers.pool._limit import PoolLimit
from balancers.pool._member import Member
from balancers.pool._members import Members
from balancers.pool._refusals import Refusals
from balancers.pool._rooms import Rooms, WithoutRoom
from balancers.pool.explanation import Explanation, MemberExplanation

__all__ = ["Explainer", "Request"]


class Request(NamedTuple, Generic[B]):
    """Contains the arguments of a request.  All but ``key`` and ``prefer`` were validated."""

    now: float
    key: Key | None
    prefer: B | None
    strict: bool
    avoid: Collection[B]
    cost: int = 0
    among: Sequence[B] | None = None


class Explainer(Generic[B]):
    """Explains one request.  It has the parts of a pool that decide, or copies of them.

    Raises NotCopyable if changes are due, and the balancer or a gate cannot be copied.
    """

    def __init__(
        self,
        balancer: Balancer[B],
        members: Members[B],
        gates: GateSet[B],
        census: Census,
        limit: PoolLimit | None,
        request: Request[B],
    ) -> None:
        self._request = request
        self._original = balancer
        self._limit = limit
        self._memo: dict[int, Any] = {}
        share(self._memo, members.by_backend)
        self._settles = bool(gates.pending or members.recoveries.read_at) or any(
            watched.due <= request.now for watched in gates.watched
        )
        self._copied = self._settles
        if self._settles:
            if members.events is not None:
                events = deque[Event](maxlen=members.events.maxlen)
                remember(self._memo, members.events, events)
            balancer = _copy_of(balancer, self._memo)
            for gate in gates.gates:
                _copy_of(gate, self._memo)
            members, gates, census = deepcopy((members, gates, census), self._memo)
        else:
            census = copy(census)
            census.refusals = {}
        self._balancer, self._members, self._gates = balancer, members, gates
        self._census = census
        self._refusals = Refusals(members.by_backend, gates, census)
        self._avoid = request.avoid
        """The backends that the caller or a gate makes the request avoid."""

    def explain(self) -> Explanation[B]:
        """Return what the request would find; O(n).  Raises NotCopyable."""
        backend: B | None = None
        error: Exception | None = None
        bound = False
        try:
            backend, bound = self._decide()
        except NotCopyable:
            raise
        except BalancersError as raised:
            error = raised.with_traceback(None)  # it would refer to the copies
            error.__context__ = None
        except Exception as raised:  # noqa: BLE001 - returned
            error = raised
        return Explanation(
            at=self._request.now,
            backend=backend,
            bound=bound,
            error=error,
            panicking=self._census.panicking,
            ignored=self._gates.reasons(self._census.ignored),
            members=tuple(self._describe(bound)),
        )

    def _decide(self) -> tuple[B, bool]:
        """Return the backend, and whether the request is bound.  Raise what ``acquire`` raises.

        The steps are those of ``acquire``.
        """
        now, key, prefer, strict, avoid, cost, among = self._request
        refusals, limit = self._refusals, self._limit
        if self._settles:
            self._members.settle(now)
        if cost:
            self._avoid = avoid = Rooms(self._gates.gates).avoid(avoid, cost, now)
        bound = prefer is not None and refusals.honours(prefer, strict, avoid)
        if limit is not None and limit.full:
            refusals.refuse_limited(limit.reason, avoid, prefer, strict, among)
        picked = prefer
        if among is not None:
            picked = refusals.listed(among, avoid, prefer, bound)
        elif picked is None or not bound:
            if not (self._census.eligible or self._balancer.keyed or avoid):
                raise refusals.refusal(avoid, prefer)
            if not self._copied:
                self._balancer, self._copied = _copy_of(self._balancer, self._memo), True
            try:
                picked = self._balancer.pick(key, now, avoid)
            except NoBackendAvailable as error:
                raise refusals.refusal_of(error, avoid, prefer) from None
        try:
            return self._members.by_backend[picked].backend, bound
        except (KeyError, TypeError):
            name = shown(self._original)
            raise InvalidPick(f"{name} picked {shown(picked)}, not a member") from None

    def _describe(self, bound: bool) -> Iterator[MemberExplanation[B]]:
        names = _different([gate.reason for gate in self._gates.gates])
        loads = self._readable_loads()
        for member in self._members.by_backend.values():
            yield MemberExplanation(
                member.backend,
                member.weight,
                dict(zip(names, member.factors, strict=False)),
                member.effective_weight,
                self._load(loads, member.backend),
                member.in_flight,
                tuple(dict.fromkeys(self._exclusions(member, bound))),
            )

    def _exclusions(self, member: Member[B], bound: bool) -> Iterator[str]:
        """Yield the reasons for which a member cannot serve the request."""
        request = self._request
        preferred = request.prefer is not None and member.backend == request.prefer
        if request.strict and request.prefer is not None and not preferred:
            yield "not preferred"
        if request.among is not None and member.backend not in request.among and not bound:
            yield "not listed"
        if preferred and (bound or request.strict):
            yield from self._gates.reasons(self._refusals.closing_bound(member))
        else:
            yield from self._gates.reasons(member.closed_by & ~self._census.ignored)
        if isinstance(self._avoid, WithoutRoom):
            yield from self._avoid.reasons(member.backend)
        if member.backend in request.avoid:
            yield "avoided"
        if self._limit is not None and self._limit.full:
            yield self._limit.reason

    def _readable_loads(self) -> Any:
        """Return the method ``load_of`` of a copy of the balancer, or None.

        The method of another author may change something, although it only reads.
        """
        if not callable(getattr(self._balancer, "load_of", None)):
            return None
        if not self._copied:
            try:
                self._balancer, self._copied = _copy_of(self._balancer, self._memo), True
            except NotCopyable:
                return None
        return getattr(self._balancer, "load_of", None)

    def _load(self, load_of: Any, backend: B) -> float | None:
        if load_of is None:
            return None
        try:
            return cast("float", load_of(backend, self._request.now))
        except Exception:  # noqa: BLE001 - a load that cannot be computed is not shown
            return None


def _different(reasons: Sequence[str]) -> list[str]:
    """Return a different name for each gate."""
    names: list[str] = []
    for place, reason in enumerate(reasons):
        number = reasons[:place].count(reason) + 1
        name = reason if number == 1 else f"{reason} #{number}"
        while name in names:
            number += 1
            name = f"{reason} #{number}"
        names.append(name)
    return names


def _copy_of(part: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy of a balancer or gate.  Raises NotCopyable."""
    try:
        copied = deepcopy(part, memo)
    except Exception as error:
        raise NotCopyable(
            f"{shown(part)} cannot be copied, so no request can be explained: {error}"
        ) from error
    if copied is part:
        raise NotCopyable(
            f"the copy of {shown(part)} is the same object, so no request can be explained"
        )
    return copied
