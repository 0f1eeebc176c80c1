"""Rotates the addresses of a DNS answer, so that clients that use the first one are spread."""

from collections.abc import Sequence

from balancers._internal.checks import shown
from balancers._internal.types import T
from balancers.errors import InvalidSetting

__all__ = ["rotated"]


def rotated(answers: Sequence[T], turn: int) -> tuple[T, ...]:
    """Return the answers in the same circular order, starting at the one of this turn; O(n).

    Pass the number of the query, or a random number.  Over n queries in turn, each of n answers is
    the first one once.

    >>> [rotated(("a", "b", "c"), turn) for turn in range(3)]
    [('a', 'b', 'c'), ('b', 'c', 'a'), ('c', 'a', 'b')]

    To answer with a part only, cut it: ``rotated(answers, turn)[:8]``.

    Raises InvalidSetting if ``turn`` is not an int.  Raises TypeError if ``answers`` is not a
    sequence, and for a str or bytes.
    """
    if type(turn) is not int:
        raise InvalidSetting(f"turn must be an int, not {shown(turn)}")
    if isinstance(answers, str | bytes | bytearray) or not isinstance(answers, Sequence):
        raise TypeError(f"answers must be a sequence of answers, not {shown(answers)}")
    ordered = tuple(answers)
    start = turn % (len(ordered) or 1)
    return ordered[start:] + ordered[:start]
