"""Implements smooth weighted round robin.

Each backend is picked in proportion to its weight, and its picks are spread out evenly.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers._internal.plans import first_different
from balancers._internal.types import B
from balancers.algorithms._ahead import new_row, repeat_lap
from balancers.algorithms._list_cursor import cursor_at, position_of
from balancers.algorithms._smooth_balancer import SmoothBalancer
from balancers.balancer import Key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["WeightedRoundRobin"]

_MAX_PERIOD = 1 << 20
"""The greatest length of a period that is learned, in picks."""
_MAX_PLANS = 4096
"""The largest number of plans that are stored for the next lap of a period."""


class WeightedRoundRobin(SmoothBalancer[B]):
    """Picks each backend in proportion to its weight.  Its picks are spread out evenly.

    This is smooth weighted round robin.  The picks are exactly those of nginx 1.22.  Weights are
    ints or floats.  A float has the value of its decimal text: 0.5, 0.1 and 0.1 have the same
    effect as 5, 1 and 1.  In a tie, the backend that was inserted first is picked.  The sequence of
    picks repeats after a period.  The length of the period is the sum of the weights divided by
    their greatest common divisor.  In each period, the number of picks of each backend is exactly
    its share, which is in proportion to its weight.  If the weights do not change from the start,
    none of the n backends is ever more than 1 - 1/n picks ahead of its share.

    Each backend has a current weight, from which the next pick is computed.  It is 0 for a new
    backend.  It is kept when a weight changes, and when a backend closes or opens.  A pick with
    ``avoid`` does one step as if the avoided backends had weight 0, like nginx when it tries the
    next server.

    ``offset`` is the number of picks to skip at the start.  If several processes use the same
    backends, pass a different ``offset`` in each process, for example a 32-bit hash of its name.
    Otherwise all of them pick the same backend first.  The first pick does at most 1024 steps for
    an offset.  If the offset, modulo the period, is greater, the steps before are replaced by a
    computed state, in which each backend had its share of the picks, rounded down or up.  The
    picks that follow are nearly always those after real steps.  Otherwise some of them differ,
    until the end of the period at the latest.

    A bound request, for example of a session, goes to its backend without a pick.  It is reported
    with ``started``, and counts as a pick of its backend.  The backend then gets fewer picks, until
    the totals are in proportion to the weights again.  This debt is limited: if a backend is 16
    picks or more ahead of its share, further bound requests are not counted.  They are not counted
    either while another backend is more than 17 picks behind its share.  When a weight changes, or
    when a member joins, leaves, opens or closes, all backends are limited to this range by the new
    weights, if there was ever a bound request.  Therefore the next pick of a backend comes after at
    most 18 times its usual gap, and one pick more for each open backend of a lower weight, however
    many bound requests and changes there were before.  The wait is counted from the last bound
    request or change.

    >>> lb = WeightedRoundRobin({"a": 5, "b": 1, "c": 1})
    >>> "".join(lb.pick() for _ in range(7))
    'aabacaa'

    Cost: ``pick`` is O(n) until a complete period is learned (at most 1 048 576 picks).  It is
    vectorised above 24 members.  After that, the period is repeated, and ``pick`` is O(1).  With
    ``avoid``, and for a bound request, the cost is O(n).  To close or open a backend is O(1), plus
    one pass over the picks of the period that were repeated.  Joining and leaving are O(n), and so
    is a weight with more decimal places than all others.  Above 24 members, such a weight makes a
    pick several times as expensive if the numbers then do not fit into 64 bits.  With 100 members
    of weight 1, this is so from 14 decimal places on.  At most n picks after the weight has changed
    or the backend has left, the cost is the usual one again.

    Raises InvalidSetting unless ``offset`` is an int of 0 or more.
    """

    keyed = False
    fractional = True

    def __init__(
        self, backends: Iterable[B] | Mapping[B, float] | None = None, *, offset: int = 0
    ) -> None:
        self._picks: list[int] = []  # the indices of one period, learned or being learned
        self._learn_until = 0  # the picks to learn before the next check; 0 means none
        self._period: list[B] = []  # the learned period; empty while none is repeated
        self._replay: Iterator[B] = iter(self._period)
        self._caught_up = 0  # the position in the period to which the scan was advanced
        self._plans: dict[int, tuple[B, ...]] = {}  # by position in the period
        super().__init__(backends, offset)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the next backend; O(1) after a period is learned.

        Raises NoBackendAvailable.  The error does not change the current weights.
        """
        if avoid is NO_BACKENDS:
            for backend in self._replay:
                return backend
            return self._step()
        return self._pick_avoiding(self._open_ones(checked_avoid(avoid)))

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the ``n`` backends with the greatest current weights, in the order of picks.

        This takes one turn, that of the first backend.  The next ones are those that the same step
        would pick without the backends before them.  If fewer backends can be picked, all of them
        are returned.  The cost is O(members · log members), vectorised above 24 members, plus one
        pass over the picks of a learned period since the last plan.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.

        >>> lb = WeightedRoundRobin({"a": 5, "b": 1, "c": 1})
        >>> [lb.plan(2) for _ in range(3)]
        [['a', 'b'], ['a', 'b'], ['b', 'c']]
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        avoided: set[B] = set()
        if avoid is not NO_BACKENDS:
            avoided = self._open_ones(checked_avoid(avoid))
        if len(avoided) == self._open:
            raise self.refusal()
        if not avoided:
            ranked = self._planned_before(n) if self._period else self._ranked(n)
            self.pick()
            return ranked
        ranked = self._ranked(n + len(avoided))
        self._pick_avoiding(avoided)
        return first_different(ranked, n, avoided)

    def _ranked(self, n: int) -> list[B]:
        if self._period:
            self._catch_up()
        scan, order = self._valid_scan(), self._order
        return [order[index] for index in scan.ranking(n)]

    def _planned_before(self, n: int) -> list[B]:
        """Return the plan at this position of the period, which is stored for the next lap."""
        plans = self._plans
        position = position_of(self._period, self._replay) % len(self._period)
        known = plans.get(position)
        if known is None or len(known) < min(n, self._open):
            if len(plans) >= _MAX_PLANS:
                plans.clear()
            known = plans[position] = (*self._ranked(n),)
        return [*known[:n]]

    def picks_ahead(self, count: int) -> "NDArray[np.intp]":
        """Return the positions of the next ``count`` picks; O(count) after a period is learned.

        The result is an array ``intp[count]`` of positions in the order of ``weights``: those of
        the next ``count`` calls of :meth:`pick`.  The state afterwards is as after these calls.
        Raises NoBackendAvailable if ``count`` is positive.  Raises InvalidSetting unless ``count``
        is an int from 0 to 2³².

        >>> WeightedRoundRobin({"a": 5, "b": 1, "c": 1}).picks_ahead(7).tolist()
        [0, 0, 1, 0, 2, 0, 0]
        """
        row, done = new_row(count), 0
        while done < count and not self._period:
            backend = self._step()  # may change the indices
            row[done] = self._indices[backend]
            done += 1
        if done < count:
            end = repeat_lap(row[done:], self._picks, position_of(self._period, self._replay))
            self._replay = cursor_at(self._period, end)
        return row

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count a bound request as a pick of its backend; O(n).

        Other requests are ignored, because their picks are counted already.  The call is also
        ignored if the backend has weight 0 or is not a member.
        """
        if bound and self._effective_weights.get(backend):
            if not self._may_have_debts:
                self._may_have_debts = self._debts_outdated = True
            self._stop_replay()
            self._charge(backend)

    def _step(self) -> B:
        if self._period:
            self._replay = iter(self._period)
            return next(self._replay)
        if not self._open:
            raise self.refusal()
        scan = self._scan
        if scan is None or self._debts_outdated or scan.rebuild_due:
            scan = self._valid_scan()
        index = scan.step()
        if self._learn_until:
            self._learn(index)
        return self._order[index]

    def _open_ones(self, avoid: Collection[B]) -> set[B]:
        return {backend for backend in avoid if self._effective_weights.get(backend)}

    def _pick_avoiding(self, avoided: set[B]) -> B:
        if not avoided:
            return self.pick()
        if len(avoided) == self._open:
            raise self.refusal()
        scan = self._valid_scan()
        self._stop_replay()
        for backend in avoided:
            scan.set_weight(self._indices[backend], 0)
        index = scan.step()
        for backend in avoided:
            weight = self._unit.weight(self._effective_weights[backend])
            scan.set_weight(self._indices[backend], weight)
        return self._order[index]

    def _learn(self, index: int) -> None:
        """Record a pick.  If it completes a period, the period is repeated from now on."""
        picks, scan = self._picks, self._valid_scan()
        picks.append(index)
        if len(picks) < self._learn_until:
            return
        period = scan.period()
        if len(picks) != period:
            if len(picks) > period:
                picks.clear()
            self._learn_until = int(period) if period <= _MAX_PERIOD else 0
        elif scan.is_period(picks):
            self._period = [self._order[index] for index in picks]
            self._replay = iter(self._period)
            self._caught_up = 0
        else:
            picks.clear()
        if not self._learn_until:
            picks.clear()

    def _stop_replay(self) -> None:
        """End the repetition of the period, if there is one, and start to learn a new period.

        The scan is advanced by the picks that were repeated.
        """
        if self._picks:
            if self._period:
                self._catch_up()
                self._period = []
                self._replay = iter(self._period)
                self._plans.clear()
            self._picks = []
        self._learn_until = self._open

    def _catch_up(self) -> None:
        """Advance the scan by the picks that were repeated since the last call; one pass."""
        first, end = self._caught_up, position_of(self._period, self._replay)
        if self._scan is not None:
            if first > end:  # after a period, the scan is as at its start
                self._scan.advance(self._picks[first:])
                first = 0
            if first < end:
                self._scan.advance(self._picks[first:end])
        self._caught_up = end
