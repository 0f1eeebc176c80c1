"""Stores the positions of many picks in an array.  NumPy is imported at the first call."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from balancers._internal.checks import at_least, shown
from balancers.errors import InvalidSetting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["new_row", "places_by_index", "repeat_lap"]

_MOST_PICKS = 1 << 32
"""The largest number of picks.  Their positions need 32 GiB."""


def new_row(count: int) -> "NDArray[np.intp]":
    """Return an array for this number of positions, which are not set yet.

    Raises InvalidSetting unless ``count`` is an int from 0 to 2³².
    """
    import numpy as np  # noqa: PLC0415 - takes longer than many programs

    at_least(0, count=count)
    if count > _MOST_PICKS:
        raise InvalidSetting(f"count must be an int up to {_MOST_PICKS}, not {shown(count)}")
    return np.empty(count, dtype=np.intp)


def places_by_index(indices: Collection[int]) -> "NDArray[np.intp]":
    """Return an array that contains the position of each of these indices; O(n).

    >>> places_by_index([2, 0]).tolist()
    [1, -1, 0]
    """
    import numpy as np  # noqa: PLC0415 - takes longer than many programs

    places = np.full(max(indices, default=-1) + 1, -1, dtype=np.intp)
    places[list(indices)] = range(len(indices))
    return places


def repeat_lap(row: "NDArray[np.intp]", lap: list[int], start: int) -> int:
    """Fill the row with the items of a lap, which is repeated without end.

    The row begins with the item at position ``start`` of the lap.  The result is the position after
    the last item in the row; it is never 0.  Neither the row nor the lap may be empty.

    >>> row = new_row(6)
    >>> repeat_lap(row, [3, 0, 1], start=2), row.tolist()
    (2, [1, 3, 0, 1, 3, 0])
    """
    import numpy as np  # noqa: PLC0415 - takes longer than many programs

    count = len(row)
    first = lap[start : start + count]
    items = np.array(first + lap[: min(start, count - len(first))], dtype=np.intp)
    rest = count % len(items)
    row[: count - rest].reshape(-1, len(items))[:] = items
    row[count - rest :] = items[:rest]
    return (start + count - 1) % len(lap) + 1
