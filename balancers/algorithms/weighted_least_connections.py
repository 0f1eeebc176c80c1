"""Implements weighted least connections: picks by requests in flight per weight."""

from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Any, Generic, Literal

from balancers._internal.checks import NO_BACKENDS, checked_avoid, checked_choice
from balancers._internal.types import B
from balancers.algorithms._rank_buckets import RankBuckets
from balancers.algorithms._smooth_scan import decimal_places, in_units
from balancers.balancer import Key
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["WeightedLeastConnections"]


class _Member(Generic[B]):
    """Stores the state of one backend.

    ``effective_weight`` is its weight as an integral number of units.  ``current_weight`` belongs
    to the smooth round robin (see ``_smooth_scan.py``); it is valid only while the member is in no
    bucket.  ``entry`` is the valid heap entry.  It is None while the member is in no bucket, which
    means that its weight is 0.
    """

    __slots__ = (
        "backend",
        "bucket",
        "count",
        "current_weight",
        "effective_weight",
        "entry",
        "group",
        "serial",
        "weight",
    )

    bucket: "_Bucket[B]"
    group: "_WeightGroup[B]"

    def __init__(self, backend: B, serial: int) -> None:
        self.backend = backend
        self.serial = serial
        self.count = self.current_weight = self.effective_weight = 0
        self.weight: float = 0
        self.entry: _Entry[B] | None = None


_Entry = tuple[int, int, _Member[B]]
"""An entry is (effective weight · steps - current weight, serial, member).  The first number does
not change while the bucket does steps that pick other members."""


class _WeightGroup(Generic[B]):
    """Stores the members of one bucket that have the same effective weight, as a heap.

    The member with the greatest current weight comes first; among equals, the one that joined
    first.  If a member gets a new entry, its old entry is stale: it is ignored, and ``size`` does
    not count it.
    """

    __slots__ = ("heap", "size")

    def __init__(self) -> None:
        self.heap: list[_Entry[B]] = []
        self.size = 0


class _Bucket(Generic[B]):
    """Stores the members of one rank: the same number of requests in flight per weight.

    They share one smooth round robin.  ``steps`` is the number of its steps so far.  ``total`` is
    the sum of the effective weights of the members.
    """

    __slots__ = ("groups", "size", "steps", "total")

    def __init__(self) -> None:
        self.groups: dict[int, _WeightGroup[B]] = {}
        self.size = 0
        self.steps = 0
        self.total = 0

    def __len__(self) -> int:
        return self.size


class WeightedLeastConnections(Membership[B]):
    """Picks the backend with the lowest in-flight / weight.  This is the safe default.

    The balancer counts the requests that are reported with ``started`` and ``finished``.  A tie is
    broken by one step of smooth weighted round robin among the tied backends.  The state of this
    round robin changes only in such steps.  The picks are exactly those of ``least_conn`` of nginx
    1.22, so the backends of an idle pool are picked in proportion to their weights.

    With ``rule="sed"`` the backend with the lowest (in-flight + 1) / weight is picked.  This is the
    shortest expected delay of IPVS.  At low load, this rule picks only the heaviest backends.  Use
    it if the weight of a backend is its speed.

    >>> lb = WeightedLeastConnections({"a": 3, "b": 1})
    >>> "".join(lb.pick() for _ in range(4))
    'aaba'
    >>> for backend in "aab":
    ...     lb.started(backend)
    >>> lb.pick()
    'a'

    Cost: ``pick`` is O(d + log n) for d different weights among the tied backends; ``avoid`` adds
    O(avoided · log n).  ``started``, ``finished`` and a change of weight are O(log n) amortised.  A
    weight with more decimal places than all before costs O(n log n).  Raises InvalidSetting for
    another rule.
    """

    keyed = False
    fractional = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        rule: Literal["wlc", "sed"] = "wlc",
    ) -> None:
        checked_choice("rule", rule, ("wlc", "sed"))
        self._extra = int(rule == "sed")  # added to the requests in flight
        self._decimals = 0
        self._next_serial = 0
        self._members: dict[B, _Member[B]] = {}
        self._buckets: RankBuckets[_Bucket[B]] = RankBuckets(_Bucket)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend with the lowest in-flight / weight; O(d + log n).

        Raises NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            return self._pick_avoiding(checked_avoid(avoid))
        bucket = self._buckets.lowest
        if not bucket.size:
            if not self._open:
                raise self.refusal()
            bucket = self._buckets.lowest_filled()
        steps, greatest = bucket.steps + 1, -inf
        best: _Entry[B] | None = None
        best_heap: list[_Entry[B]] = []
        for weight, group in bucket.groups.items():
            heap = group.heap
            if heap:
                entry = heap[0]
                while entry[2].entry is not entry:
                    heappop(heap)
                    entry = heap[0]
                current = weight * steps - entry[0]
                if current > greatest or (current == greatest and best and entry[1] < best[1]):
                    greatest, best, best_heap = current, entry, heap
        if best is None:
            raise self.refusal()
        member = best[2]
        if bucket.size > 1:
            bucket.steps = steps
            member.entry = entry = (best[0] + bucket.total, best[1], member)
            heapreplace(best_heap, entry)
        return member.backend

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count a new request; O(log n) amortised.  Ignored if the backend is not a member."""
        member = self._members.get(backend)
        if member is None:
            return
        if member.entry is None:
            member.count += 1
        else:
            self._leave_bucket(member, member.entry)
            member.count += 1
            self._join_bucket(member)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count a request that ended; O(log n) amortised.

        The call is ignored if the backend is not a member or has no request in flight.
        """
        member = self._members.get(backend)
        if member is None or not member.count:
            return
        if member.entry is None:
            member.count -= 1
        else:
            self._leave_bucket(member, member.entry)
            member.count -= 1
            self._join_bucket(member)

    def _leave_bucket(self, member: _Member[B], entry: _Entry[B]) -> None:
        """Remove a member from its bucket, and compute its current weight."""
        bucket, group, weight = member.bucket, member.group, member.effective_weight
        member.current_weight = weight * bucket.steps - entry[0]
        member.entry = None
        bucket.size -= 1
        bucket.total -= weight
        group.size -= 1
        if not group.size:
            group.heap.clear()

    def _join_bucket(self, member: _Member[B]) -> None:
        """Add a member to the bucket of its rank."""
        rank = (member.count + self._extra) / member.weight
        bucket = self._buckets.by_rank.get(rank)
        if bucket is None:
            bucket = self._buckets.bucket(rank, len(self._members))
        weight = member.effective_weight
        bucket.size += 1
        bucket.total += weight
        group = bucket.groups.get(weight)
        if group is None:
            group = self._new_group(bucket, weight)
        group.size += 1
        member.bucket, member.group = bucket, group
        order = weight * bucket.steps - member.current_weight
        member.entry = entry = (order, member.serial, member)
        heappush(group.heap, entry)
        if len(group.heap) > 2 * group.size + 8:
            group.heap = [old for old in group.heap if old[2].entry is old]
            heapify(group.heap)

    def _new_group(self, bucket: _Bucket[B], weight: int) -> _WeightGroup[B]:
        if len(bucket.groups) > 2 * bucket.size + 8:
            bucket.groups = {w: group for w, group in bucket.groups.items() if group.size}
        group = bucket.groups[weight] = _WeightGroup()
        return group

    def _pick_avoiding(self, avoid: Collection[B]) -> B:
        members = [member for b in set(avoid) if (member := self._members.get(b)) is not None]
        avoided = [(member, member.entry) for member in members if member.entry is not None]
        if len(avoided) == self._open:
            raise self.refusal()
        for member, entry in avoided:
            self._leave_bucket(member, entry)
        chosen = self.pick()
        for member, _ in avoided:
            self._join_bucket(member)
        return chosen

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._members[backend] = _Member(backend, self._next_serial)
            self._next_serial += 1
        member = self._members[backend]
        if member.entry is not None:
            self._leave_bucket(member, member.entry)
        if new is None:
            del self._members[backend]
            return
        decimals = decimal_places(new)
        if decimals > self._decimals:
            self._use_smaller_unit(decimals)
        member.effective_weight = in_units(new, self._decimals)
        member.weight = new
        if new:
            self._join_bucket(member)

    def _use_smaller_unit(self, decimals: int) -> None:
        """Convert all effective and current weights to a smaller unit."""
        factor = int(10 ** (decimals - self._decimals))
        self._decimals = decimals
        members = self._members.values()
        in_buckets = [(member, member.entry) for member in members if member.entry is not None]
        for member, entry in in_buckets:
            self._leave_bucket(member, entry)
        for member in members:
            member.effective_weight *= factor
            member.current_weight *= factor
        for member, _ in in_buckets:
            self._join_bucket(member)

    def __getstate__(self) -> dict[str, Any]:
        """Return the members as plain rows.  To pickle nested buckets could recurse too deeply."""
        rows: list[tuple[object, ...]] = []
        for member in self._members.values():
            current, effective = member.current_weight, member.effective_weight
            if member.entry is not None:
                current = effective * member.bucket.steps - member.entry[0]
            row = (member.backend, member.serial, member.count, current, effective, member.weight)
            rows.append(row)
        return {**self.__dict__, "_buckets": None, "_members": rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _buckets=RankBuckets(_Bucket), _members={})
        for backend, serial, count, current, effective, weight in state["_members"]:
            member = self._members[backend] = _Member(backend, serial)
            member.count, member.weight = count, weight
            member.current_weight, member.effective_weight = current, effective
            if weight:
                self._join_bucket(member)
