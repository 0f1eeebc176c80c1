"""Slow start: the weight of a backend that joined or recovered grows in announced steps."""

from balancers._internal.types import B
from balancers.gates._ramp import RampGate

__all__ = ["SlowStart"]


class SlowStart(RampGate[B, None]):
    """A factor that grows to 1 within ``window`` seconds after a backend joined or recovered.

    After t seconds the factor is max(``min_share``, (t / window) ** (1 / ``aggression``)), rounded
    to thousandths and changed at ``steps`` instants.  The formula is Envoy's, and so are the
    defaults of ``aggression`` and ``min_share`` (a share above 0, at most 1; Envoy's
    min_weight_percent of 10).  A backend ramps up

    * from when it was added, unless the pool is new: it was empty less than ``window`` seconds ago;
    * from when soft gates (health, ejection) opened it again;
    * from :meth:`begin`.

    Soft and fractional: a pool refuses it over a balancer that does not honour fractions; use
    :class:`~balancers.gates.WarmUp` there.  Every method is O(log n).

    >>> from balancers import Pool, WeightedRoundRobin
    >>> ramp = SlowStart(window=30.0, steps=3)
    >>> pool = Pool(WeightedRoundRobin(["old"]), gates=[ramp])
    >>> pool.add("new", now=60.0)
    >>> [round(ramp.factor("new", now), 2) for now in (60.0, 70.0, 80.0, 90.0)]
    [0.1, 0.33, 0.67, 1]

    Raises InvalidSetting for a window or aggression that is not positive and finite, a min_share
    that is not above 0 and at most 1, or fewer than 2 steps.
    """

    reason = "slow start"
    soft = True
    fractional = True

    def __init__(
        self, window: float, steps: int = 8, aggression: float = 1.0, min_share: float = 0.1
    ) -> None:
        super().__init__(window, steps, aggression, min_share)

    def new_state(self, now: float) -> None:
        del now

    def factor(self, backend: B, now: float) -> float:
        """Return the share.  Raises UnknownBackend."""
        return self.share(backend, now)

    def _step_taken(self, backend: B, ramping: bool, now: float) -> None:
        self.notify_change(backend)
