"""Increases the traffic of a backend slowly after it joined or recovered.

The weight of the backend grows in several steps.
"""

from balancers._internal.types import B
from balancers.gates._ramp import RampGate

__all__ = ["SlowStart"]


class SlowStart(RampGate[B, None]):
    """Gives a backend that joined or recovered a factor that grows to 1 in ``window`` seconds.

    After t seconds, the factor is max(``min_share``, (t / ``window``) ** (1 / ``aggression``)),
    rounded to thousandths.  The factor is updated ``steps`` times during this growth, which is
    called a ramp.  ``min_share`` is above 0 and at most 1.  The formula is Envoy's.  The defaults
    of ``aggression`` and ``min_share`` are Envoy's too: its min_weight_percent is 10.

    A ramp of a backend starts

    * when the backend is added, unless the pool was empty less than ``window`` seconds ago;
    * when the backend opens again after soft gates (health checks, outlier ejection) closed it;
    * when you call :meth:`begin`.

    The gate is soft: the pool ignores it during a panic (when too few members are open).  The gate
    is fractional: a pool raises IncompatibleGate if its balancer does not honour fractions.  Use
    :class:`~balancers.gates.WarmUp` with such a balancer.  Every method is O(log n).

    The new backend gets this share of the requests if the balancer picks by weight alone:
    :class:`~balancers.WeightedRoundRobin` or :class:`~balancers.RandomChoice`.  A balancer that
    compares the requests in flight gets close to it only if the other backends have many more than
    1 / ``min_share`` requests in flight each, which is 10 by default.  With fewer, the new backend
    gets a request whenever it is idle, so slow start has almost no effect.  Take a balancer that
    picks by weight then.

    >>> from balancers import Pool, WeightedRoundRobin
    >>> ramp = SlowStart(window=30.0, steps=3)
    >>> pool = Pool(WeightedRoundRobin(["old"]), gates=[ramp])
    >>> pool.add("new", now=60.0)
    >>> [round(ramp.factor("new", now), 2) for now in (60.0, 70.0, 80.0, 90.0)]
    [0.1, 0.33, 0.67, 1]

    Raises InvalidSetting for a ``window`` or ``aggression`` that is not positive and finite, a
    ``min_share`` of 0 or less or above 1, or fewer than 2 ``steps``.
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
        """Return the share of the backend at ``now``.  Raises UnknownBackend."""
        return self.share(backend, now)

    def _step_taken(self, backend: B, ramping: bool, now: float) -> None:
        self.notify_change(backend)
