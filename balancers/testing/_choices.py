"""Provides sequences of random decisions that can be replayed and shortened.

Every law draws its history from one sequence of small whole numbers.  A history that breaks a law
is shortened by changing the numbers: chunks are deleted and values are lowered.  The law runs again
for each change, so a shortened history is always one that a law can draw.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

__all__ = ["Choices", "shortened"]

_SHRINK_RUNS = 1500


class Choices:
    """A sequence of whole numbers: first the given ones, then random ones or zeros.

    >>> choices = Choices([5, 1])
    >>> choices.below(3), choices.below(3), choices.below(3)
    (2, 1, 0)
    >>> choices.made
    [2, 1, 0]
    """

    def __init__(self, given: Sequence[int] = (), rng: Random | None = None) -> None:
        self._given = given
        self._rng = rng
        self.made: list[int] = []

    def below(self, count: int) -> int:
        """Return a number from 0 to ``count`` - 1.  The number 0 stands for the simplest case."""
        place = len(self.made)
        if place < len(self._given):
            number = min(self._given[place], count - 1)
        elif self._rng is None:
            number = 0
        else:
            number = int(self._rng.random() * count)
        self.made.append(number)
        return number


def shortened(made: Sequence[int], breaks: Callable[[Choices], bool]) -> list[int]:
    """Return a shorter sequence for which ``breaks`` still returns True.

    At most 1500 sequences are tried.
    """
    best = list(made)
    left = _SHRINK_RUNS
    improved = True
    while improved and left > 0:
        improved = False
        candidates = _simpler(best)
        for candidate in candidates:
            if left <= 0:
                break
            left -= 1
            choices = Choices(candidate)
            if breaks(choices):
                # what was drawn is at most what was given: trailing numbers were not needed
                used = _without_trailing_zeros(choices.made)
                if (len(used), used) < (len(best), best):
                    best, improved = used, True
                    break
    return best


def _simpler(made: Sequence[int]) -> Iterator[list[int]]:
    size = len(made)
    chunk = size // 2
    while chunk:
        for start in range(0, size - chunk + 1, max(1, chunk // 2)):
            yield [*made[:start], *made[start + chunk :]]
        chunk //= 2
    for place, number in enumerate(made):
        lower = {0, number // 2, number - 1}
        for value in sorted(lower):
            if 0 <= value < number:
                yield [*made[:place], value, *made[place + 1 :]]


def _without_trailing_zeros(made: list[int]) -> list[int]:
    used = len(made)
    while used and made[used - 1] == 0:
        used -= 1
    return made[:used]
