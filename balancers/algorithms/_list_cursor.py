"""List cursors: list iterators whose position can be read and chosen.

``next`` is as fast on a list iterator as it can be.  Unlike a generator, a list iterator has a
position, and can be copied and pickled.
"""

from collections.abc import Iterator
from operator import length_hint
from typing import Any, TypeVar

__all__ = ["cursor_at", "position_of"]

T = TypeVar("T")


def cursor_at(items: list[T], position: int) -> Iterator[T]:
    """Return an iterator over the list that starts at a position; O(1).

    >>> cursor = cursor_at(["a", "b", "c"], 1)
    >>> next(cursor), position_of(["a", "b", "c"], cursor)
    ('b', 2)
    """
    cursor: Any = iter(items)
    cursor.__setstate__(position)
    typed: Iterator[T] = cursor
    return typed


def position_of(items: list[T], cursor: Iterator[T]) -> int:
    """Return the position in the list of the item that the cursor returns next; O(1)."""
    return len(items) - length_hint(cursor)
