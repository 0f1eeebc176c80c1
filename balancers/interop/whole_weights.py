"""Checks weights that must be integers."""

from balancers._internal.checks import shown
from balancers.errors import InvalidWeight

__all__ = ["whole_weight"]


def whole_weight(backend: object, weight: float, most: int | None = None) -> int:
    """Return the weight of a backend, after a check that it is allowed.

    A weight must be an int from 0 to ``most``.  If ``most`` is None, there is no upper limit.
    Raises InvalidWeight if the weight is not allowed.

    >>> whole_weight("a", 2.5, most=256)
    Traceback (most recent call last):
    balancers.errors.InvalidWeight: weight of 'a' must be an integer from 0 to 256, not 2.5
    """
    if type(weight) is not int or weight < 0 or (most is not None and weight > most):
        limits = "of 0 or more" if most is None else f"from 0 to {most}"
        raise InvalidWeight(
            f"weight of {shown(backend)} must be an integer {limits}, not {shown(weight)}"
        )
    return weight
