"""A split of traffic by weight: the same clients to the same value, in every process."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import accumulate
from math import lcm, log
from random import Random
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from balancers._internal.checks import valid_weight
from balancers._internal.copying import SharesBackends
from balancers.balancer import Key
from balancers.errors import DuplicateBackend, InvalidWeight
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of

__all__ = ["Split"]

T = TypeVar("T")

_BITS = 64
_SCALE = 1 << 60


class Split(SharesBackends, Generic[T]):
    """Values that share clients by weight: 90 % to stable, 10 % to the canary.

    Weighted rendezvous: each value bids for a key with an exponential draw, from the hash of both,
    over its weight, and the lowest bid wins.  Only the ratios of weights count, and a client moves
    from one value to another only when the second's weight grew by a greater factor than the
    first's.  So a weight that grows alone takes clients from all and moves nobody else; one that
    shrinks alone gives clients to all; of two values, clients move to the one whose share grew.

    When shares move by t in all, at most 2t/(1 + t) of the clients move: with three values or more
    no rule that knows the weights alone can promise t for every change (Bavarian and others,
    Optimality of Correlated Sampling Strategies, 2020).  Leave the others' weights as they are.

    A value of weight 0 gets nobody.  ``identity`` names values for hashing, as backends are named.
    ``salt`` tells splits apart: the same salt and names choose the same clients for the canary, in
    every process, and another salt chooses independently.

    >>> split = Split({"stable": 90, "canary": 10}, salt="checkout")
    >>> before = {key for key in range(1000) if split.pick(key) == "canary"}
    >>> split.reweigh({"stable": 80, "canary": 20})
    >>> after = {key for key in range(1000) if split.pick(key) == "canary"}
    >>> len(before), len(after), before <= after
    (104, 200, True)

    Cost: ``pick`` O(values), and O(values²) for floats that share no unit; ``draw`` O(log values).
    Raises InvalidWeight for a weight that is none and for a sum of 0, DuplicateBackend for a value
    given twice or a name of two, TypeError for what has no name.
    """

    def __init__(
        self,
        weights: Mapping[T, float] | Iterable[tuple[T, float]],
        *,
        salt: bytes | str = b"",
        identity: Identity[T] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        self._salt = _framed(salt)
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
        """What each value gets of all, 0 to 1."""
        total = sum(map(Fraction, self._weights.values()))
        return {value: float(Fraction(weight) / total) for value, weight in self._weights.items()}

    def reweigh(self, weights: Mapping[T, float] | Iterable[tuple[T, float]]) -> None:
        """Set all values and their weights; raises as the constructor does, and changes nothing."""
        given = (
            cast("Mapping[T, float]", weights).items() if isinstance(weights, Mapping) else weights
        )
        named: dict[bytes, T] = {}
        valid: dict[T, float] = {}
        for value, weight in given:
            name = key_bytes(self._identity(value))
            if name in named or value in valid:
                raise DuplicateBackend(
                    f"{value!r} and {named.get(name, value)!r} are both {name!r}"
                )
            named[name] = value
            valid[value] = valid_weight(weight, value)
        open_ = {name: value for name, value in named.items() if valid[value]}
        if not open_:
            raise InvalidWeight(f"a split needs a weight above 0, not {valid!r}")
        exact = {value: Fraction(valid[value]) for value in open_.values()}
        whole = lcm(*(weight.denominator for weight in exact.values()))
        once = lcm(*(int(weight * whole) for weight in exact.values()))
        ends = [*accumulate(exact.values())]
        self._bidders = [
            (self._salt + _framed(name), once // int(exact[open_[name]] * whole), open_[name])
            for name in sorted(open_)
        ]
        self._drawn, self._ends = list(exact), [float(end / ends[-1]) for end in ends]
        self._weights = valid

    def pick(self, key: Key | None) -> T:
        """Give the value of a client; O(values).

        Raises MissingKey for None, and InvalidKey or TypeError for what is no key.
        """
        data = key_bytes(key)
        hasher = self._hasher
        best, won = -1, self._bidders[0][2]
        for prefix, handicap, value in self._bidders:
            bid = _exponential(hasher(prefix + data)) * handicap
            if bid < best or best < 0:
                best, won = bid, value
        return won

    def draw(self, rng: Random) -> T:
        """Give a value by chance, for a request that has no key; O(log values)."""
        if not isinstance(rng, Random):
            raise TypeError(f"rng must be a random.Random, not {rng!r}")
        return self._drawn[bisect_right(self._ends, rng.random())]

    def _known_backends(self) -> Iterable[T]:
        return self._weights

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._weights!r})"


def _framed(name: bytes | str) -> bytes:
    """Give a name so that no two in a row can be cut in another place."""
    data = key_bytes(name)
    return len(data).to_bytes(8, "little") + data


def _exponential(digest: int) -> int:
    """Give an exponential draw from 64 bits, as an integer: a product with it is exact."""
    return int(-log(((digest & (1 << _BITS) - 1) + 1) / (1 << _BITS)) * _SCALE)
