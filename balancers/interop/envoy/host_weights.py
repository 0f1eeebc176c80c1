"""The weights of hosts, which survive a time of weight 0."""

from collections import Counter
from collections.abc import Hashable
from typing import Generic

from balancers._internal.types import B
from balancers.errors import InvalidWeight
from balancers.interop.envoy.settings import MAX_UINT32
from balancers.interop.whole_weights import whole_weight

__all__ = ["HostWeights"]


class HostWeights(Generic[B]):
    """The last positive weight of every host, and the sums of these weights per group."""

    def __init__(self) -> None:
        self.last_positive: dict[B, int] = {}
        self._totals: Counter[Hashable] = Counter()

    def set(self, host: B, weight: float, group: Hashable = None) -> None:
        """Set the weight of a host.  At weight 0 it keeps its last weight, or has 1 if it is new.

        Raises InvalidWeight unless the weight and the sum of its group are integers of 32 bits.
        Nothing has changed then.
        """
        before = self.last_positive.get(host, 0)
        positive = whole_weight(host, weight or before or 1, MAX_UINT32)
        total = self._totals[group] - before + positive
        if total > MAX_UINT32:
            raise InvalidWeight(
                f"with weight {weight!r} for {host!r} the weights of its locality add up to "
                f"{total}, more than {MAX_UINT32}"
            )
        self._totals[group] = total
        self.last_positive[host] = positive

    def discard(self, host: B, group: Hashable = None) -> None:
        """Remove a host."""
        self._totals[group] -= self.last_positive.pop(host)
        if not self._totals[group]:
            del self._totals[group]
