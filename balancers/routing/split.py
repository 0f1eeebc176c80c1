"""Splits traffic by weight: each client gets the same value, in every process."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import accumulate
from math import lcm, log
from random import Random
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from balancers._internal.checks import checked_rng, valid_weight
from balancers._internal.copying import SharesBackends
from balancers.balancer import Key
from balancers.errors import DuplicateBackend, InvalidWeight
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of

__all__ = ["Split"]

T = TypeVar("T")

_BITS = 64
_SCALE = 1 << 60


class Split(SharesBackends, Generic[T]):
    """Values that share clients by weight, for example 90 % to stable and 10 % to the canary.

    Weighted rendezvous hashing: each value gets a bid per key, an exponential variate from the hash
    of value and key, divided by the weight; the lowest bid wins.  Only the ratios of weights
    matter.  A client moves from one value to another only if the weight of the second grew by a
    greater factor than the weight of the first.  When only one weight grows, clients move to that
    value and between no others; when only one weight shrinks, clients move away from that value
    only; with two values, clients move to the value whose share grew.

    When a total share of t moves, at most 2t/(1 + t) of the clients move.  With three values or
    more, no rule that depends on the weights alone can guarantee t for every change (Bavarian and
    others, Optimality of Correlated Sampling Strategies, 2020).  So change one weight and leave the
    others as they are.

    A value of weight 0 gets no clients.  ``identity`` names values for hashing, like backends.
    ``salt`` separates splits: with the same salt and names the canary gets the same clients in
    every process, and another salt chooses independently.

    >>> split = Split({"stable": 90, "canary": 10}, salt="checkout")
    >>> before = {key for key in range(1000) if split.pick(key) == "canary"}
    >>> split.reweigh({"stable": 80, "canary": 20})
    >>> after = {key for key in range(1000) if split.pick(key) == "canary"}
    >>> len(before), len(after), before <= after
    (104, 200, True)

    Cost: ``pick`` O(values), and O(values²) for floats without a common unit; ``draw``
    O(log values).  Raises InvalidWeight for an invalid weight and for a sum of 0, DuplicateBackend
    for a value given twice or two values with the same name, TypeError for a value without a name.
    """

    def __init__(
        self,
        weights: Mapping[T, float] | Iterable[tuple[T, float]],
        *,
        salt: bytes | str = b"",
        identity: Identity[T] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._salt = _length_prefixed(salt)
        self._identity = identity
        self._hasher = Murmur3() if hasher is None else hasher
        self._weights: dict[T, float] = {}
        self.reweigh(weights)

    @property
    def weights(self) -> Mapping[T, float]:
        """The weights, in the order given; read-only."""
        return MappingProxyType(self._weights)

    @property
    def shares(self) -> dict[T, float]:
        """The share of the traffic that each value gets, 0 to 1."""
        total = sum(map(Fraction, self._weights.values()))
        return {value: float(Fraction(weight) / total) for value, weight in self._weights.items()}

    def reweigh(self, weights: Mapping[T, float] | Iterable[tuple[T, float]]) -> None:
        """Replace all values and their weights.

        Raises what the constructor raises; nothing has changed then.
        """
        given = (
            cast("Mapping[T, float]", weights).items() if isinstance(weights, Mapping) else weights
        )
        named: dict[bytes, T] = {}
        valid: dict[T, float] = {}
        for value, weight in given:
            name = key_bytes(self._identity(value))
            if name in named or value in valid:
                raise DuplicateBackend(
                    f"{value!r} and {named.get(name, value)!r} have the same name, {name!r}"
                )
            named[name] = value
            valid[value] = valid_weight(weight, value)
        positive = {name: value for name, value in named.items() if valid[value]}
        if not positive:
            raise InvalidWeight(f"weights must contain a weight above 0, not {valid!r}")
        exact = {value: Fraction(valid[value]) for value in positive.values()}
        # integers in the same ratio as the weights, and multipliers that divide by them exactly
        unit = lcm(*(weight.denominator for weight in exact.values()))
        multiple = lcm(*(int(weight * unit) for weight in exact.values()))
        ends = [*accumulate(exact.values())]
        self._bidders = [
            (
                self._salt + _length_prefixed(name),
                multiple // int(exact[positive[name]] * unit),
                positive[name],
            )
            for name in sorted(positive)
        ]
        self._positive, self._ends = list(exact), [float(end / ends[-1]) for end in ends]
        self._weights = valid

    def pick(self, key: Key | None) -> T:
        """Return the value of a client; O(values).

        Raises MissingKey for None, and InvalidKey or TypeError for an invalid key.
        """
        data = key_bytes(key)
        hasher = self._hasher
        best, winner = -1, self._bidders[0][2]
        for prefix, multiplier, value in self._bidders:
            bid = _exponential(hasher(prefix + data)) * multiplier
            if bid < best or best < 0:
                best, winner = bid, value
        return winner

    def draw(self, rng: Random) -> T:
        """Return a random value by weight, for a request without a key; O(log values).

        Raises TypeError for an ``rng`` that is not a ``random.Random``.
        """
        return self._positive[bisect_right(self._ends, checked_rng(rng).random())]

    def _known_backends(self) -> Iterable[T]:
        return self._weights

    def __repr__(self) -> str:
        return f"<Split: {self._weights!r}>"


def _length_prefixed(name: bytes | str) -> bytes:
    """Return the name behind its length, so that joined names cannot be confused."""
    data = key_bytes(name)
    return len(data).to_bytes(8, "little") + data


def _exponential(digest: int) -> int:
    """Return an exponential variate from 64 bits, as a scaled integer: its products are exact."""
    return int(-log(((digest & (1 << _BITS) - 1) + 1) / (1 << _BITS)) * _SCALE)
