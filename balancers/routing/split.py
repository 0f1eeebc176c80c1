"""Splits clients between values by weight.  A client gets the same value in every process."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate
from math import lcm, log
from random import Random
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from balancers._internal.checks import NO_BACKENDS, checked_avoid, checked_rng, shown, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.exact import exact
from balancers._internal.refusals import shared_reason
from balancers.balancer import Key
from balancers.errors import DuplicateBackend, InvalidWeight, NoBackendAvailable
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of

__all__ = ["Split"]

T = TypeVar("T")

_BITS = 64
_SCALE = 1 << 60


class Split(SharesBackends, Generic[T]):
    """Assigns each client to one of several values by weight.

    For example, 90 % of the clients get the stable version and 10 % get the canary.  A client is
    identified by its key.  Only the ratios of the weights matter.  A value of weight 0 gets no
    clients.

    The method is weighted rendezvous hashing.  For a key, each value gets a bid.  The bid is a
    number with an exponential distribution, computed from the hash of the value and the key, and
    divided by the weight.  The value with the lowest bid is chosen.

    A client moves from one value to another only if the weight of the second was multiplied by a
    greater factor than the weight of the first.  If only one weight grows, clients move only to
    that value.  If only one weight shrinks, clients move only away from that value.  With two
    values, clients move only to the value whose share grew.

    Let t, from 0 to 1, be the sum of the increases of all shares that grow.  At least a share of t
    of the clients must move, and at most 2t/(1 + t) do.  With three values or more, no method that
    depends only on the weights can reach t for every change (Bavarian and others, Optimality of
    Correlated Sampling Strategies, 2020).  So change only one weight at a time: then only a share
    of t of the clients moves.

    ``identity`` returns the name of a value, which is hashed.  With the same ``salt`` and the same
    names, each value gets the same clients in every process.  Two splits with different salts
    choose clients independently of each other.

    If an attacker can choose the keys, pass :class:`~balancers.keys.KeyedBlake2` as ``hasher``.
    Neither a secret ``salt`` nor a seed of the default hash function helps: many keys can get the
    same value whatever they are.

    >>> split = Split({"stable": 90, "canary": 10}, salt="checkout")
    >>> before = {key for key in range(1000) if split.pick(key) == "canary"}
    >>> split.reweigh({"stable": 80, "canary": 20})
    >>> after = {key for key in range(1000) if split.pick(key) == "canary"}
    >>> len(before), len(after), before <= after
    (104, 200, True)

    ``pick`` costs O(values), but O(values²) if the weights have many decimals and no common unit.
    ``draw`` costs O(log values).  Weights count as the decimals that they are printed as, so 0.1
    and 0.2 are exactly 1 and 2.

    Raises InvalidWeight for an invalid weight and for a sum of 0.  Raises DuplicateBackend for a
    value that is given twice and for two values with the same name.  Raises TypeError for a value
    without a name.
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
        """The weights as a read-only mapping, in the order in which they were given."""
        return MappingProxyType(self._weights)

    @property
    def shares(self) -> dict[T, float]:
        """The share of the traffic that each value gets, from 0 to 1."""
        total = sum(map(exact, self._weights.values()))
        return {value: float(exact(weight) / total) for value, weight in self._weights.items()}

    def reweigh(self, weights: Mapping[T, float] | Iterable[tuple[T, float]]) -> None:
        """Replace all values and their weights.

        Raises the same errors as the constructor.  After an error, the split is unchanged.
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
                    f"{shown(value)} and {shown(named.get(name, value))} have the same name, "
                    f"{shown(name)}"
                )
            named[name] = value
            valid[value] = valid_weight(weight, value)
        positive = {name: value for name, value in named.items() if valid[value]}
        if not positive:
            raise InvalidWeight(f"weights must contain a weight above 0, not {shown(valid)}")
        decimals = {value: exact(valid[value]) for value in positive.values()}
        # weight * unit is an integer for each weight; multiple // (weight * unit) is exact, so that
        # multiplying by it is the same as dividing by the weight, apart from a common factor
        unit = lcm(*(weight.denominator for weight in decimals.values()))
        multiple = lcm(*(int(weight * unit) for weight in decimals.values()))
        ends = [*accumulate(decimals.values())]
        self._bidders = [
            (
                self._salt + _length_prefixed(name),
                multiple // int(decimals[positive[name]] * unit),
                positive[name],
            )
            for name in sorted(positive)
        ]
        self._positive, self._ends = list(decimals), [float(end / ends[-1]) for end in ends]
        self._weights = valid

    def pick(self, key: Key | None, avoid: Collection[T] = ()) -> T:
        """Return the value of a client, and never a value in ``avoid``; O(values).

        ``avoid`` contains values that are not wanted for this request, for example those that a
        retry has tried.  The clients of these values are divided between all other values, in the
        ratio of the weights.  All other clients keep their value.

        Raises MissingKey for None, and InvalidKey or TypeError for an invalid key.  Raises
        NoBackendAvailable if all values of positive weight are avoided, and TypeError for an
        ``avoid`` that is not a collection of values.
        """
        data = key_bytes(key)
        hasher = self._hasher
        bidders = self._bidders
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
            bidders = [bidder for bidder in bidders if bidder[2] not in avoid]
            if not bidders:
                raise self._refusal()
        best, winner = -1, bidders[0][2]
        for prefix, multiplier, value in bidders:
            bid = _exponential(hasher(prefix + data)) * multiplier
            if bid < best or best < 0:
                best, winner = bid, value
        return winner

    def draw(self, rng: Random, avoid: Collection[T] = ()) -> T:
        """Return a random value, and never a value in ``avoid``; O(log values).

        The probability of a value is its share.  Use this method for a request without a key.  With
        ``avoid``, the shares are those of the other values, and the cost is O(values).

        Raises TypeError for an ``rng`` that is not a ``random.Random``.  Raises NoBackendAvailable
        and TypeError for the same ``avoid`` as :meth:`pick`.
        """
        rng = checked_rng(rng)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        if not avoid:
            return self._positive[bisect_right(self._ends, rng.random())]
        left = [value for value in self._positive if value not in avoid]
        if not left:
            raise self._refusal()
        ends = [*accumulate(exact(self._weights[value]) for value in left)]
        return left[bisect_right([float(end / ends[-1]) for end in ends], rng.random())]

    def _refusal(self) -> NoBackendAvailable:
        """Return the error to raise when all values of positive weight are avoided."""
        members, positive = len(self._weights), len(self._positive)
        counts = {"quiesced": members - positive, "avoided": positive}
        counts = {reason: count for reason, count in counts.items() if count}
        return NoBackendAvailable(shared_reason(counts, members), counts)

    def _known_backends(self) -> Iterable[T]:
        return self._weights

    def __repr__(self) -> str:
        return f"<Split: {self._weights!r}>"


def _length_prefixed(name: bytes | str) -> bytes:
    """Return the length of the name in 8 bytes, followed by the name.

    Two different lists of names therefore remain different when their names are joined.
    """
    data = key_bytes(name)
    return len(data).to_bytes(8, "little") + data


def _exponential(digest: int) -> int:
    """Return a number with an exponential distribution, computed from the lowest 64 bits.

    It is multiplied by 2**60 and rounded down to an integer, so that its products are exact.
    """
    return int(-log(((digest & (1 << _BITS) - 1) + 1) / (1 << _BITS)) * _SCALE)
