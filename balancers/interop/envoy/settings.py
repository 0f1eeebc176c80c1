"""Defines the settings of Envoy clusters that hash.

The module also contains the checks for values that Envoy refuses.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypedDict

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.interop.envoy.locality import Locality
from balancers.keys import Identity

__all__ = ["MAX_UINT32", "ClusterSettings", "checked_locality_weights", "within"]

MAX_UINT32 = (1 << 32) - 1
"""The greatest weight.  The sum of weights in a locality or a priority has the same limit."""


class ClusterSettings(TypedDict, Generic[B], total=False):
    """The keyword arguments that RingHash and Maglev share.

    Their defaults are those of HashCluster.
    """

    hash_balance_factor: int | None
    locality: Callable[[B], Locality]
    locality_weights: Mapping[Locality, int] | None
    healthy_panic_threshold: int
    overprovisioning_factor: int
    identity: Identity[B]


def within(least: int, most: int, /, **settings: int) -> None:
    """Raise InvalidSetting unless every setting is an int from ``least`` to ``most``."""
    for name, value in settings.items():
        if type(value) is not int or not least <= value <= most:
            raise InvalidSetting(
                f"{name} must be an int from {least} to {most}, not {shown(value)}"
            )


def checked_locality_weights(
    weights: Mapping[Locality, int] | None,
) -> dict[Locality, int] | None:
    """Return a copy of the weights of localities.

    Raises InvalidSetting if Envoy refuses a weight, or refuses the sum of the weights of a
    priority.
    """
    if weights is None:
        return None
    sums: dict[int, int] = {}
    for locality, weight in weights.items():
        if not isinstance(locality, Locality):
            raise InvalidSetting(
                f"a key of locality_weights must be a Locality, not {shown(locality)}"
            )
        within(0, MAX_UINT32, **{f"the weight of {locality}": weight})
        sums[locality.priority] = sums.get(locality.priority, 0) + weight
    for priority, total in sums.items():
        within(0, MAX_UINT32, **{f"the sum of locality_weights of priority {priority}": total})
    return dict(weights)
