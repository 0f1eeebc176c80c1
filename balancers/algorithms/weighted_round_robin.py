"""Weighted round robin, smooth: shares by weight, with each backend's turns spread out."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from balancers._internal.checks import at_least, checked_avoid
from balancers._internal.types import B
from balancers.algorithms._list_cursor import lap_place
from balancers.algorithms._smooth_scan import PlainScan, Scan, decimals_of, units
from balancers.balancer import Key
from balancers.membership import Membership

__all__ = ["WeightedRoundRobin"]

_GRAIN = 4
"""Units grow finer by so many decimals at once: a slow start refines them once, not thrice."""
_PLAIN = 24
"""Up to so many members a plain loop beats a vector (measured)."""
_LONGEST = 1 << 20
"""The longest period that is learned, in picks."""
_DEBT = 16
"""So many picks ahead of its share, bound requests cost their backend no more turns."""


class WeightedRoundRobin(Membership[B]):
    """Each backend in proportion to its weight, as evenly spread as may be.

    Smooth weighted round robin, pick by pick the sequence of nginx 1.22.  Weights may be ints or
    floats; a float counts as it is written, so 0.5, 0.1, 0.1 go as 5, 1, 1.  Ties go to the first
    listed.  Over a period (the sum of the weights by their greatest divisor) counts are exact; from
    a fresh start with fixed weights no backend is ever more than 1 - 1/n picks ahead of its share.
    Credits survive a flip or a new weight; a newcomer starts with none.  ``avoid`` steps as if the
    avoided were quiesced: nginx's set of tried servers.  ``offset`` skips that many picks at first:
    give each instance of a fleet its own, or all of them begin with the same backend.

    A bound request (a session's, told by ``started``) counts as a pick of its backend, which then
    gets fewer of the others, until the totals are by weight again.  The debt is bounded: a backend
    16 picks ahead of its share pays for no more, so while no other is in debt it is picked again
    within 18 times its usual gap, however many bound requests it had.  When weights change,
    or a member opens, closes or leaves, what is owed beyond 16 picks of the new ones is forgiven.

    >>> lb = WeightedRoundRobin({"a": 5, "b": 1, "c": 1})
    >>> "".join(lb.pick() for _ in range(7))
    'aabacaa'

    Cost: ``pick`` O(n), vectorised above 24 members, until a whole period was seen (up to 1 048 576
    picks), then O(1); with ``avoid``, and a bound request, O(n).  A flip O(1), and one pass over
    the part of the period that was replayed.  Joining and leaving O(n).
    Raises InvalidSetting for an offset that is no int, 0 or more.
    """

    keyed = False
    fractional = True

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = (), *, offset: int = 0) -> None:
        at_least(0, offset=offset)
        self._offset = offset
        self._decimals = 0
        self._gains: dict[B, int] = {}
        self._credits: dict[B, int] = {}  # of every member; only true while there is no scan
        self._scan: Scan | None = None
        self._order: list[B] = []  # the members by their place in the scan
        self._places: dict[B, int] = {}
        self._picks: list[int] = []  # the steps of one period, learned or being learned
        self._learn_until = 0
        self._period: list[B] = []  # what is replayed; empty while stepping
        self._lap: Iterator[B] = iter(self._period)
        self._charged = False  # for any bound request: somebody may be in debt
        self._forgiving = False  # the weights are others than those the debts were made under
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give the next backend; O(1) once a period was seen.

        Raises NoBackendAvailable; a refusal moves no credit.
        """
        if not avoid:
            for backend in self._lap:
                return backend
            return self._next()
        return self._next_but(checked_avoid(avoid))

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Charge a bound request to its backend; O(n).  Any other was charged when picked.

        One that is quiesced has no turns to pay with; a stranger is ignored.
        """
        if bound and self._gains.get(backend):
            scan = self._scanned()
            self._wake()
            scan.charge(self._places[backend], _DEBT)
            self._charged = True

    def _next(self) -> B:
        if self._period:
            self._lap = iter(self._period)
            return next(self._lap)
        if not self._open:
            raise self.refusal()
        scan = self._scan
        if scan is None or self._forgiving:
            scan = self._scanned()
        place = scan.step()
        if self._learn_until:
            self._learn(place)
        return self._order[place]

    def _next_but(self, avoid: Collection[B]) -> B:
        shut = {backend for backend in avoid if self._gains.get(backend)}
        if not shut:
            return self.pick()
        if len(shut) == self._open:
            raise self.refusal()
        scan = self._scanned()
        self._wake()
        for backend in shut:
            scan.weigh(self._places[backend], 0)
        place = scan.step()
        for backend in shut:
            scan.weigh(self._places[backend], self._gains[backend])
        return self._order[place]

    def _learn(self, place: int) -> None:
        """Remember the step, and replay from here when it ends a period that was fair."""
        picks, scan = self._picks, self._scanned()
        picks.append(place)
        if len(picks) < self._learn_until:
            return
        period = scan.period()
        if len(picks) != period:
            if len(picks) > period:
                picks.clear()
            self._learn_until = period if period <= _LONGEST else 0
        elif scan.fair(picks):
            self._period = [self._order[place] for place in picks]
            self._lap = iter(self._period)
        else:
            picks.clear()
        if not self._learn_until:
            picks.clear()

    def _wake(self) -> None:
        """Step again from here on: whatever is replayed or being learned is over."""
        if self._picks:
            if self._period and self._scan is not None:
                self._scan.advance(self._picks[: lap_place(self._period, self._lap)])
                self._period = []
                self._lap = iter(self._period)
            self._picks = []
        self._learn_until = self._open

    def _scanned(self) -> Scan:
        """Give the scan of the present members, made anew if they changed, and debts bounded."""
        scan = self._scan or self._scan_anew()
        if self._forgiving:
            scan.forgive(_DEBT)
            self._forgiving = False
        return scan

    def _scan_anew(self) -> Scan:
        credits_, gains = list(self._credits.values()), list(self._gains.values())
        self._order = list(self._gains)
        self._places = {backend: place for place, backend in enumerate(self._order)}
        self._scan = scan = _scan_of(credits_, gains)
        self._learn_until = self._open
        for _ in range(self._offset % scan.period() if self._offset else 0):
            scan.step()
        self._offset = 0
        return scan

    def _rest(self) -> None:
        """Take the credits out of the scan, which ends with it."""
        self._wake()
        if self._scan is not None:
            self._credits = dict(zip(self._order, self._scan.credits(), strict=True))
            self._scan = None

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        self._wake()
        self._forgiving = self._charged
        if new is None:
            self._rest()
            del self._gains[backend], self._credits[backend]
            return
        decimals = decimals_of(new)
        if decimals > self._decimals:
            decimals = -(-decimals // _GRAIN) * _GRAIN
            self._refine(10 ** (decimals - self._decimals))
            self._decimals = decimals
        if old is None:
            self._rest()
            self._credits[backend] = 0
        gain = self._gains[backend] = units(new, self._decimals)
        if self._scan is not None:
            self._scan.weigh(self._places[backend], gain)
            if self._scan.total > self._scan.limit:
                self._rest()

    def _refine(self, times: int) -> None:
        """Count everything in a smaller unit."""
        self._rest()
        self._credits = {backend: credit * times for backend, credit in self._credits.items()}
        self._gains = {backend: gain * times for backend, gain in self._gains.items()}


def _scan_of(credits_: list[int], gains: list[int]) -> Scan:
    if len(gains) > _PLAIN:
        from balancers.algorithms._smooth_scan_numpy import VectorScan  # noqa: PLC0415 - loads numpy

        if VectorScan.holds(credits_, gains):
            return VectorScan(credits_, gains)
    return PlainScan(credits_, gains)
