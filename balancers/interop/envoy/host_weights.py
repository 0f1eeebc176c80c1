"""Stores the weights of hosts.

While the weight of a host is 0, its last positive weight remains stored.
"""

from collections import Counter
from collections.abc import Hashable
from typing import Generic

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidWeight
from balancers.interop.envoy.settings import MAX_UINT32
from balancers.interop.whole_weights import whole_weight

__all__ = ["HostWeights"]


class HostWeights(Generic[B]):
    """Stores the last positive weight of every host, and the sum of these weights per group.

    A group is, for example, a locality.
    """

    def __init__(self) -> None:
        self.last_positive: dict[B, int] = {}
        self._totals: Counter[Hashable] = Counter()

    def set(self, host: B, weight: float, group: Hashable = None) -> None:
        """Set the weight of a host.

        With weight 0, the host keeps its last positive weight.  A new host with weight 0 gets
        weight 1.

        Raises InvalidWeight unless the weight is an integer of at most 32 bits.  Also raises
        InvalidWeight if the sum of the weights of the group needs more than 32 bits.  If the method
        raises, nothing has changed.
        """
        before = self.last_positive.get(host, 0)
        positive = whole_weight(host, weight or before or 1, MAX_UINT32)
        total = self._totals[group] - before + positive
        if total > MAX_UINT32:
            raise InvalidWeight(
                f"with weight {shown(weight)} for {shown(host)} the weights of its locality add up "
                f"to {total}, more than {MAX_UINT32}"
            )
        self._totals[group] = total
        self.last_positive[host] = positive

    def discard(self, host: B, group: Hashable = None) -> None:
        """Remove a host."""
        self._totals[group] -= self.last_positive.pop(host)
        if not self._totals[group]:
            del self._totals[group]
