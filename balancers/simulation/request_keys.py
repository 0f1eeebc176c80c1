"""Defines which keys requests have."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from balancers._internal.checks import number, shown
from balancers.balancer import Key
from balancers.errors import InvalidKey, InvalidSetting
from balancers.simulation._recorded import check_range, int_between

__all__ = ["KeyLaw", "RecordedKeys", "UniformKeys", "ZipfKeys"]

_MOST_KEYS = 1 << 24
_MOST_EXPONENT = 1e6


class KeyLaw(Protocol):
    """A law of keys: any object with these three members.

    A law has no state.  It may draw numbers by ``rng.random`` only, and always the same number of
    them per request.  So the keys do not depend on how many are drawn at once.

    >>> class Tenants:
    ...     size = 2
    ...     shares = None
    ...     def draw(self, rng, start, count):
    ...         return ["large" if u < 0.9 else "small" for u in rng.random(count).tolist()]
    >>> import numpy as np
    >>> Tenants().draw(np.random.default_rng(1), 0, 3)
    ['large', 'small', 'large']
    """

    @property
    def size(self) -> int:
        """The number of different keys."""
        ...

    @property
    def shares(self) -> NDArray[np.float64] | None:
        """The probabilities of the keys 0 to ``size - 1``.  It is None if they are unknown."""
        ...

    def draw(self, rng: Generator, start: int, count: int) -> Any:
        """Return the keys of ``count`` requests, as an array or a list.

        ``start`` is the number of requests before them.  Each key is an int, a str or bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class UniformKeys:
    """The keys 0 to ``size - 1``, each with the same probability.

    >>> import numpy as np
    >>> UniformKeys(size=10).draw(np.random.default_rng(1), 0, 5).tolist()
    [5, 9, 1, 9, 3]
    >>> UniformKeys(size=4).shares.tolist()
    [0.25, 0.25, 0.25, 0.25]

    Raises InvalidSetting for a size that is not an int from 1 to 2²⁴.
    """

    size: int

    def __post_init__(self) -> None:
        int_between("size", self.size, 1, _MOST_KEYS)

    @property
    def shares(self) -> NDArray[np.float64]:
        """The probabilities of the keys, as a float64 array of length ``size``; O(size)."""
        return np.full(self.size, 1 / self.size)

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.int64]:
        """Return the keys of ``count`` requests, as an int64 array; O(count)."""
        return (rng.random(count) * self.size).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ZipfKeys:
    """The keys 0 to ``size - 1``, of which key 0 is the most frequent one.

    The probability of key k is proportional to ``(k + 1) ** -exponent``.

    >>> import numpy as np
    >>> ZipfKeys(size=1000, exponent=1.0).draw(np.random.default_rng(1), 0, 5).tolist()
    [25, 690, 1, 680, 5]
    >>> ZipfKeys(size=3, exponent=1.0).shares.round(4).tolist()
    [0.5455, 0.2727, 0.1818]

    Raises InvalidSetting for a size that is not an int from 1 to 2²⁴, and for an exponent outside 0
    to 1e6.
    """

    size: int
    exponent: float

    def __post_init__(self) -> None:
        int_between("size", self.size, 1, _MOST_KEYS)
        if not 0 <= number("exponent", self.exponent) <= _MOST_EXPONENT:
            raise InvalidSetting(
                f"exponent must be 0 to {_MOST_EXPONENT:g}, not {shown(self.exponent)}"
            )
        object.__setattr__(self, "exponent", float(self.exponent))

    @property
    def shares(self) -> NDArray[np.float64]:
        """The probabilities of the keys, as a float64 array of length ``size``; O(size)."""
        weights: NDArray[np.float64] = (
            np.arange(1, self.size + 1, dtype=np.float64) ** -self.exponent
        )
        weights /= weights.sum()
        return weights

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.int64]:
        """Return the keys of ``count`` requests, as an int64 array; O(count log size)."""
        bounds = _bounds(self.size, self.exponent)
        return np.searchsorted(bounds, rng.random(count), side="right").astype(np.int64)


@lru_cache(maxsize=4)
def _bounds(size: int, exponent: float) -> NDArray[np.float64]:
    """Return for each key the probability of all keys up to it."""
    bounds = np.cumsum(ZipfKeys(size, exponent).shares)
    bounds /= bounds[-1]
    bounds.flags.writeable = False
    return bounds


@dataclass(frozen=True, slots=True, repr=False)
class RecordedKeys:
    """Recorded keys of each request: ints, strings or bytes.

    >>> import numpy as np
    >>> keys = RecordedKeys(["ann", 7, b"x", "ann"])
    >>> keys.draw(np.random.default_rng(1), 1, 3).tolist(), keys.size, len(keys)
    ([7, b'x', 'ann'], 3, 4)

    Raises InvalidKey for a key of another type, InvalidSetting if there is no key, and TypeError if
    ``keys`` is not iterable.
    """

    keys: tuple[Key, ...]

    def __init__(self, keys: Iterable[Key]) -> None:
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise TypeError(f"keys must be an iterable of keys, not {shown(keys)}")
        given: Any = keys
        listed = tuple(given.tolist() if isinstance(given, np.ndarray) else given)
        for place, key in enumerate(listed):
            if isinstance(key, bool) or not isinstance(key, int | str | bytes):
                raise InvalidKey(f"keys[{place}] must be an int, a str or bytes, not {shown(key)}")
        if not listed:
            raise InvalidSetting("keys must contain at least one value")
        object.__setattr__(self, "keys", listed)

    @property
    def size(self) -> int:
        """The number of different keys; O(n)."""
        return len(set(self.keys))

    @property
    def shares(self) -> None:
        """None, because the keys are not numbers from 0 to ``size - 1``."""
        return

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"<RecordedKeys: {len(self)} keys, {self.size} different>"

    def draw(self, rng: Generator, start: int, count: int) -> NDArray[np.object_]:
        """Return the keys of ``count`` requests, as an array of objects; O(count).

        Raises InvalidSetting if fewer requests are recorded.
        """
        check_range("keys", len(self.keys), start, count)
        drawn = np.empty(count, dtype=np.object_)
        drawn[:] = self.keys[start : start + count]
        return drawn
