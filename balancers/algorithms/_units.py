"""Converts weights to integers, in a unit that is small enough for all of them.

A float weight has the value of its decimal text.  So the weights 0.3, 0.2 and 0.1 are the integers
3, 2 and 1 in the unit 0.1.  Integers have no rounding errors.
"""

from functools import lru_cache
from math import gcd

from balancers._internal.exact import decimal_of

__all__ = ["Unit", "decimal_places", "in_units", "spare_decimals"]

_USUAL_DECIMALS = 4
"""The number of decimal places that the unit has room for, if a weight with decimal places was ever
used.  Slow start uses three decimal places, so its steps do not change the unit."""
_MAX_USUAL_TOTAL = 1 << 36
"""The unit has room for the usual decimal places only up to this total weight."""


def _ten_to(decimals: int) -> int:
    return int(10**decimals)


@lru_cache(maxsize=4096)
def decimal_places(weight: float) -> int:
    """Return the number of decimal places of a weight.  It is 0 for an int.

    >>> decimal_places(3), decimal_places(0.25), decimal_places(1e-7)
    (0, 2, 7)
    """
    return 0 if isinstance(weight, int) else decimal_of(weight)[1]


@lru_cache(maxsize=4096)
def in_units(weight: float, decimals: int) -> int:
    """Return a weight as an integral number of ``10 ** -decimals``.

    >>> in_units(0.3, 1), in_units(2, 1)
    (3, 20)
    """
    if isinstance(weight, int):
        return weight * _ten_to(decimals)
    digits, places = decimal_of(weight)
    return digits * _ten_to(decimals - places)


def spare_decimals(numbers: list[int], decimals: int) -> int:
    """Return how many of the decimal places are 0 in all numbers.  It is a multiple of 4.

    >>> spare_decimals([3 * 10**16, 10**15], 20), spare_decimals([10**16], 4)
    (12, 0)
    """
    spare = 0
    if decimals > _USUAL_DECIMALS:
        common = gcd(*numbers)
        step = 10**_USUAL_DECIMALS
        while decimals - spare > _USUAL_DECIMALS and common % step == 0:
            common //= step
            spare += _USUAL_DECIMALS
    return min(spare, decimals)


class Unit:
    """Converts exact numbers to smaller integers, which have the same order, and back.

    The exact numbers are integers in the unit ``10 ** -decimals``.  All exact weights are multiples
    of ``size``.  Therefore the remainder of a current weight divided by ``size`` never changes,
    whatever is picked.  It decides only between equal quotients, so it is replaced by its position
    in the sorted list of all remainders.  A weight with many decimal places that is no longer used
    leaves such remainders behind.  The converted numbers are short again.

    >>> unit = Unit.of([1000, 2003, -2003], [1000, 2000, 3000], decimals=0)
    >>> unit.size, [unit.current(exact) for exact in (1000, 2003, -2003)]
    (1, [1000, 2003, -2003])
    >>> unit = Unit.of([10**20, 2 * 10**20 + 3], [10**20, 2 * 10**20], decimals=20)
    >>> unit.weight(10**20), unit.current(10**20), unit.current(2 * 10**20 + 3)
    (20000, 20000, 40001)
    """

    __slots__ = ("_positions", "_remainders", "scale", "size")

    def __init__(self, size: int, remainders: set[int]) -> None:
        self.size = size
        self._remainders = sorted(remainders | {0})
        self._positions = {each: index for index, each in enumerate(self._remainders)}
        self.scale = len(self._remainders)
        """The number that a quotient is multiplied by, to make room for the remainders."""

    @classmethod
    def of(cls, current_weights: list[int], weights: list[int], decimals: int) -> "Unit":
        """Return a unit for these exact numbers; O(n log n)."""
        size = gcd(*weights) or 1
        usual = gcd(size, _ten_to(max(0, decimals - _USUAL_DECIMALS)))
        if sum(weights) // usual <= _MAX_USUAL_TOTAL:
            size = usual
        if size == 1:
            return cls(1, set())
        return cls(size, {current % size for current in current_weights})

    def weight(self, exact: int) -> int:
        """Convert an exact weight, which must be a multiple of ``size``."""
        return exact // self.size * self.scale

    def current(self, exact: int) -> int:
        """Convert an exact current weight."""
        quotient, remainder = divmod(exact, self.size)
        return quotient * self.scale + self._positions[remainder]

    def exact(self, current: int) -> int:
        """Convert a current weight back to the exact number."""
        quotient, position = divmod(current, self.scale)
        return quotient * self.size + self._remainders[position]

    def __repr__(self) -> str:
        return f"<Unit: {self.size}, {self.scale} remainders>"
