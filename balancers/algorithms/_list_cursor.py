"""Creates list iterators whose position can be read and chosen.

A list iterator is the fastest iterator for ``next``.  Unlike a generator, it has a position, and it
can be copied and pickled.
"""

from collections.abc import Iterator
from operator import length_hint
from typing import Any, TypeVar

__all__ = ["cursor_at", "position_of", "unread"]

T = TypeVar("T")


def cursor_at(items: list[T], position: int) -> Iterator[T]:
    """Return an iterator over the list that starts at the given position; O(1).

    >>> cursor = cursor_at(["a", "b", "c"], 1)
    >>> next(cursor), position_of(["a", "b", "c"], cursor)
    ('b', 2)
    """
    cursor: Any = iter(items)
    cursor.__setstate__(position)
    typed: Iterator[T] = cursor
    return typed


def position_of(items: list[T], cursor: Iterator[T]) -> int:
    """Return the position of the item that the cursor returns next; O(1)."""
    return len(items) - length_hint(cursor)


def unread(cursor: Iterator[T]) -> tuple[list[T], int]:
    """Return the list of a list iterator, and the position of its next item; O(1).

    >>> unread(cursor_at(["a", "b", "c"], 1))
    (['a', 'b', 'c'], 1)
    """
    state: Any = cursor.__reduce__()
    items: list[T] = state[1][0]
    return items, state[2] if len(state) > 2 else len(items)  # noqa: PLR2004 - the end has no third
