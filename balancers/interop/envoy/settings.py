"""What Envoy refuses in a configuration, refused here."""

from collections.abc import Mapping

from balancers.errors import InvalidSetting, InvalidWeight
from balancers.interop.envoy.locality import Locality

__all__ = ["MOST", "checked_locality_weights", "host_weight", "within"]

MOST = (1 << 32) - 1
"""The greatest weight, and the greatest sum of them in a locality or a priority."""


def within(least: int, most: int, /, **settings: int) -> None:
    """Raise InvalidSetting unless every setting is an int from ``least`` to ``most``."""
    for name, value in settings.items():
        if type(value) is not int or not least <= value <= most:
            raise InvalidSetting(f"{name} must be an int, {least} to {most}, not {value!r}")


def host_weight(weight: float, backend: object, others: int) -> int:
    """Give the weight of a host back, next to those of the ``others`` in its locality.

    Raises InvalidWeight unless it is an int, and all of them together are 32 bits.
    """
    if type(weight) is not int or not 0 <= weight <= MOST:
        raise InvalidWeight(f"weight of {backend!r} must be an int, 0 to {MOST}, not {weight!r}")
    if weight + others > MOST:
        raise InvalidWeight(f"with {weight!r} for {backend!r} its locality weighs more than {MOST}")
    return weight


def checked_locality_weights(
    weights: Mapping[Locality, int] | None,
) -> dict[Locality, int] | None:
    """Copy the weights of localities; raise InvalidSetting for what Envoy refuses."""
    if weights is None:
        return None
    sums: dict[int, int] = {}
    for locality, weight in weights.items():
        if not isinstance(locality, Locality):
            raise InvalidSetting(f"locality_weights weighs each Locality, not {locality!r}")
        within(0, MOST, **{f"the weight of {locality}": weight})
        sums[locality.priority] = sums.get(locality.priority, 0) + weight
    for priority, total in sums.items():
        within(0, MOST, **{f"all locality weights of priority {priority}": total})
    return dict(weights)
