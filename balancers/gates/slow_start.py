"""Slow start: the weight of who joined or came back grows in announced steps."""

from balancers._internal.types import B
from balancers.gates._ramp import RampGate

__all__ = ["SlowStart"]


class SlowStart(RampGate[B, None]):
    """A factor that climbs to 1 over ``window`` seconds after a backend joined or recovered.

    At t seconds it is max(``min_share``, (t / window) ** (1 / ``aggression``)), Envoy's formula with
    Envoy's defaults, taken at ``steps`` instants.  A backend climbs from when it was added, unless
    the whole pool is new: was empty less than a window ago; from when soft gates (health, ejection)
    let it back in; and from :meth:`begin`.  Soft and fractional: refused over a balancer that does
    not honour fractions, where :class:`~balancers.gates.WarmUp` does it.  Every method is O(log n).

    >>> from balancers import Pool, WeightedRoundRobin
    >>> ramp = SlowStart(window=30.0, steps=3)
    >>> pool = Pool(WeightedRoundRobin(["old"]), gates=[ramp])
    >>> pool.add("new", now=60.0)
    >>> [round(ramp.factor("new", now), 2) for now in (60.0, 70.0, 80.0, 90.0)]
    [0.1, 0.33, 0.67, 1]

    Raises InvalidSetting for a window or aggression that is not positive and finite, a min_share
    outside 0…1 (above 0), or fewer than 2 steps.
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
        """Give the share.  Raises UnknownBackend."""
        return self.share(backend, now)

    def _step_taken(self, backend: B, climbs: bool, now: float) -> None:
        self.notify_change(backend)
