"""Plausible but wrong balancers that pick by key; see ``wrong_balancers``."""

from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from math import ceil, log
from typing import Any

from balancers import SUCCESS, Key
from balancers.membership import Membership, checked_avoid
from tests.laws.odd import digest, key_octets, name_octets
from tests.laws.wrong import wrong_balancer

KEYED = ("keyed", "minimal_disruption")


class Highest(Membership[Any]):
    """Right: highest random weight, with weights.  Those below change one method."""

    keyed = True
    fractional = True

    def left(self, avoid: Any) -> list[Any]:
        avoid = checked_avoid(avoid)
        left = [b for b, weight in self.weights.items() if weight and b not in avoid]
        if not left:
            raise self.refusal()
        return left

    def score(self, octets: bytes, backend: Any) -> Any:
        drawn = (digest(name_octets(backend), octets) + 0.5) / (1 << 64)
        return self.weights[backend] / -log(drawn)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        return max(self.left(avoid), key=lambda b: (self.score(octets, b), name_octets(b)))


class Ring(Highest):
    """Right: a ring with eight points for each unit of weight."""

    fractional = False
    points = 8

    def amounts(self, left: list[Any]) -> dict[Any, int]:
        return {b: max(1, round(self.points * self.weights[b])) for b in left}

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        amounts = self.amounts(self.left(avoid))
        ring = sorted(
            (digest(name_octets(b), salt=n), name_octets(b), b)
            for b, amount in amounts.items()
            for n in range(amount)
        )
        return ring[bisect_left(ring, (digest(octets),)) % len(ring)][2]


# a_key_stays_put


@wrong_balancer("a_key_stays_put", *KEYED, "weighted")
class FalsyKeysTakeTurns(Highest):
    """A key that is false counts as none, and is served in turn."""

    def __init__(self) -> None:
        self.turn = 0
        super().__init__()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        if not key:
            key_octets(key)
            self.turn += 1
            left = self.left(avoid)
            return left[self.turn % len(left)]
        return super().pick(key, now, avoid)


@wrong_balancer("a_key_stays_put", *KEYED, "weighted")
class RetriesOnATimer(Highest):
    """The hash contains the minute, so that keys move with time."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key) + str(now // 5).encode()
        return max(self.left(avoid), key=lambda b: (self.score(octets, b), name_octets(b)))


# the_map_is_a_function_of_the_set


@wrong_balancer("the_map_is_a_function_of_the_set", "keyed")
class ByPlaceInTheList(Highest):
    """The list in the order of joining, and the hash modulo its length.  Bug 19: HAProxy's ids."""

    fractional = False

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = self.left(avoid)
        return left[digest(octets) % len(left)]


@wrong_balancer("the_map_is_a_function_of_the_set", "keyed", "minimal_disruption", "weighted")
class NumberedMembers(Highest):
    """Members are hashed by a number that they get when they join.  Bug 19."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        self.numbers.setdefault(backend, len(self.numbers))

    def score(self, octets: bytes, backend: Any) -> Any:
        drawn = (digest(str(self.numbers[backend]).encode(), octets) + 0.5) / (1 << 64)
        return self.weights[backend] / -log(drawn)


@wrong_balancer("the_map_is_a_function_of_the_set", *KEYED)
class LowerCase(Highest):
    """Names are hashed in lower case, so that the order of joining decides between two of them."""

    fractional = False

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        return max(self.left(avoid), key=lambda b: digest(name_octets(b).lower(), octets))


@wrong_balancer("the_map_is_a_function_of_the_set", *KEYED)
class EqualScoresByOrder(Highest):
    """A hash of 4 bits has many equal scores, and the first in the list wins."""

    fractional = False

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        return max(self.left(avoid), key=lambda b: digest(name_octets(b), octets) >> 60)


@wrong_balancer("the_map_is_a_function_of_the_set", *KEYED, "weighted")
class RememberedKeys(Highest):
    """A cache of keys is never cleared: keys stay where they were when the members change."""

    def __init__(self) -> None:
        self.cache: dict[bytes, Any] = {}
        super().__init__()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = self.left(avoid)
        cached = self.cache.get(octets)
        if cached in left:
            return cached
        picked = super().pick(key, now, avoid)
        if not avoid:
            self.cache[octets] = picked
        return picked


# only_the_keys_of_the_changed_move


@wrong_balancer("only_the_keys_of_the_changed_move", *KEYED)
class Modulo(Highest):
    """The hash modulo the number of sorted members."""

    fractional = False

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = sorted(self.left(avoid), key=name_octets)
        return left[digest(octets) % len(left)]


@wrong_balancer("only_the_keys_of_the_changed_move", *KEYED)
class SharesOfTheRing(Ring):
    """The ring has a fixed number of points, shared out.  Bug 16: libketama, Kong."""

    def amounts(self, left: list[Any]) -> dict[Any, int]:
        total = sum(Fraction(self.weights[b]) for b in left)
        return {b: max(1, int(160 * Fraction(self.weights[b]) / total)) for b in left}


@wrong_balancer("only_the_keys_of_the_changed_move", *KEYED)
class ClosedByModulo(Highest):
    """A key of a closed backend is spread well; all others are spread anew as well."""

    fractional = False

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = sorted(self.left(avoid), key=name_octets)
        if len(left) == len(self.weights):
            return super().pick(key, now, avoid)
        return left[digest(octets) % len(left)]

    def score(self, octets: bytes, backend: Any) -> Any:
        return digest(name_octets(backend), octets)


# more_weight_only_attracts


@wrong_balancer("only_the_keys_of_the_changed_move", *KEYED, "weighted")
class PowerOfShares(Highest):
    """The exponent is the share instead of the weight, and rounded to hundredths.  Bug 16."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = self.left(avoid)
        total = sum(Fraction(self.weights[b]) for b in left)
        units = {b: max(1, round(100 * Fraction(self.weights[b]) / total)) for b in left}

        def score(backend: Any) -> Any:
            drawn = (digest(name_octets(backend), octets) + 0.5) / (1 << 64)
            return units[backend] / -log(drawn), name_octets(backend)

        return max(left, key=score)


@wrong_balancer("more_weight_only_attracts", *KEYED, "weighted")
class MoreIsLess(Highest):
    """The weight is in the hash, so that a new weight is a new backend."""

    def score(self, octets: bytes, backend: Any) -> Any:
        weight = str(float(self.weights[backend])).encode()
        drawn = (digest(name_octets(backend), weight, octets) + 0.5) / (1 << 64)
        return self.weights[backend] / -log(drawn)


# keyed_shares_follow_weights


@wrong_balancer("keyed_shares_follow_weights", "keyed", "minimal_disruption", "weighted")
class PoorHash(Highest):
    """FNV-1a with the name last: the low bits of its last letter decide.  Bug 17: Traefik's hrw."""

    def score(self, octets: bytes, backend: Any) -> Any:
        hashed = 0xCBF29CE484222325
        for octet in octets + name_octets(backend):
            hashed = ((hashed ^ octet) * 0x100000001B3) % (1 << 64)
        return self.weights[backend] / -log((hashed + 0.5) / (1 << 64))


@wrong_balancer("keyed_shares_follow_weights", *KEYED, "weighted")
class TimesWeight(Highest):
    """The hash times the weight: a member of twice the weight has three quarters of the keys."""

    def score(self, octets: bytes, backend: Any) -> Any:
        return self.weights[backend] * (digest(name_octets(backend), octets) + 1)


@wrong_balancer("keyed_shares_follow_weights", *KEYED, "weighted")
class KeysIgnoreWeights(Highest):
    """All members attract alike."""

    def score(self, octets: bytes, backend: Any) -> Any:
        return digest(name_octets(backend), octets)


@wrong_balancer("keyed_shares_follow_weights", *KEYED, "weighted")
class FractionsCountAsOne(Highest):
    """Weights are rounded to whole numbers, and a fraction of one counts as one."""

    def score(self, octets: bytes, backend: Any) -> Any:
        drawn = (digest(name_octets(backend), octets) + 0.5) / (1 << 64)
        return max(1, round(self.weights[backend])) / -log(drawn)


@wrong_balancer("keyed_shares_follow_weights", "keyed", "weighted")
class FirstInterval(Highest):
    """Intervals by weight, but the hash has 8 bits less than the total: the last are never met."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = sorted(self.left(avoid), key=name_octets)
        ends = list(accumulate(Fraction(self.weights[b]) for b in left))
        point = Fraction(digest(octets) >> 1, 1 << 64)
        return left[bisect_left(ends, ends[-1] * point)]


# is_a_balancer, hash_order_decides_nothing and others, by key


@wrong_balancer("is_a_balancer", *KEYED, "weighted")
class NoKeyIsAKey(Highest):
    """A missing key is hashed as the text "None"."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return super().pick("None" if key is None else key, now, avoid)


@wrong_balancer("hash_order_decides_nothing", *KEYED, "weighted")
class BuiltinHash(Highest):
    """The builtin ``hash()`` of the name, which is salted.  Bug 21."""

    def score(self, octets: bytes, backend: Any) -> Any:
        drawn = (digest(str(hash(backend)).encode(), octets) + 0.5) / (1 << 64)
        return self.weights[backend] / -log(drawn)


@wrong_balancer("same_seed_same_picks_in_another_process", *KEYED, "weighted")
class BuiltinHashOfTheKey(Highest):
    """The builtin ``hash()`` of the key, which is salted for texts.  Bug 21."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        key_octets(key)
        return super().pick(hash(key), now, avoid)


@wrong_balancer("copies_and_pickles_go_on_alike", *KEYED, "weighted")
class LambdaAsHash(Highest):
    """The hash function is a lambda in an attribute, so that no pickle can be made."""

    def __init__(self) -> None:
        self.hashed: Callable[[bytes, bytes], int] = lambda name, octets: digest(octets, name)
        super().__init__()

    def score(self, octets: bytes, backend: Any) -> Any:
        return self.hashed(name_octets(backend), octets)


@wrong_balancer("keyed_shares_follow_weights", "keyed", "minimal_disruption")
class TooFewBits(Highest):
    """Two bits of the hash point at a ring, so that most members have no keys.  Bug 15."""

    fractional = False

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        point = digest(key_octets(key)) >> 62
        left = sorted(self.left(avoid), key=name_octets)
        return min(left, key=lambda b: (digest(name_octets(b)) - (point << 48)) % (1 << 64))


@wrong_balancer("picks_only_eligible_backends", *KEYED, "weighted")
class SecondChoiceOnly(Highest):
    """An avoided owner is replaced by its successor, which may be avoided too.  Bug 41."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        self.left(avoid)
        ranked = sorted(self.left(()), key=lambda b: (self.score(octets, b), name_octets(b)))
        return ranked[-1] if ranked[-1] not in avoid else ranked[:-1][-1]


# the_bound_holds


class Bounded(Highest):
    """Right: highest random weight below 5/4 of the share, rounded up."""

    fractional = False
    factor = Fraction(5, 4)

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            del self.counts[backend]
        else:
            self.counts.setdefault(backend, 0)

    def most(self, left: list[Any]) -> int:
        return ceil(self.factor * (sum(self.counts[b] for b in left) + 1) / len(left))

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = self.left(avoid)
        most = self.most(left)
        below = [b for b in left if self.counts[b] < most] or left
        return max(below, key=lambda b: (digest(name_octets(b), octets), name_octets(b)))

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self.counts:
            self.counts[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.counts.get(backend):
            self.counts[backend] -= 1


@wrong_balancer("the_bound_holds", "keyed", "bounded", bound=1.25)
class BoundBeforeAdding(Bounded):
    """Accepts a request at the bound instead of below it.  Bug 23: Envoy's bounded load."""

    def most(self, left: list[Any]) -> int:
        return super().most(left) + 1


@wrong_balancer("the_bound_holds", "keyed", "bounded", bound=1.25)
class TotalElsewhere(Bounded):
    """The total is counted apart, and keeps the requests of members that have left.  Bug 23."""

    def __init__(self) -> None:
        self.total = 0
        super().__init__()

    def most(self, left: list[Any]) -> int:
        return ceil(self.factor * (self.total + 1) / len(left))

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        super().started(backend, now, bound)
        self.total += backend in self.counts

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        self.total -= self.counts.get(backend, 0) > 0
        super().finished(backend, outcome, now)


@wrong_balancer("the_bound_holds", "keyed", "bounded", bound=1.25)
class NextHasRoom(Bounded):
    """A full owner's keys go to the next member, full or not."""

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = self.left(avoid)
        left.sort(key=lambda b: digest(name_octets(b), octets), reverse=True)
        return left[0] if self.counts[left[0]] < self.most(left) else left[1 % len(left)]
