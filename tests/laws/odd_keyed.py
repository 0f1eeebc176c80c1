"""Right but unusual balancers that pick by key; see ``odd_balancers``."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor, log
from types import MappingProxyType
from typing import Any

from balancers import SUCCESS, NoBackendAvailable
from balancers.errors import InvalidSetting
from balancers.membership import Membership, checked_avoid
from tests.laws.odd import Odd, digest, eligible, key_octets, name_octets, right_weight

__all__ = ["ODD_KEYED"]

_UNIT = 1 << 64
_ATTEMPTS = 3000
"""After so many draws that met only closed members, any rule will do: with 64 members of which one
is open, that happens to one key in 10²⁰."""


class HighestLogarithm:
    """Highest random weight over BLAKE2b: the least waiting time, by weight, has the key."""

    keyed = True
    fractional = True

    def __init__(self) -> None:
        self._weights: dict[Any, float] = {}

    @property
    def weights(self) -> Any:
        return MappingProxyType(self._weights)

    def put(self, backend: Any, weight: float = 1) -> None:
        self._weights[backend] = right_weight(weight)

    def discard(self, backend: Any) -> None:
        self._weights.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)

        def waiting(backend: Any) -> tuple[float, bytes]:
            name = name_octets(backend)
            drawn = (digest(name, octets) + 0.5) / _UNIT
            return -log(drawn) / self._weights[backend], name

        return min(eligible(self._weights, avoid), key=waiting)

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        return


class CacheArray(Membership[Any]):
    """CARP: the hash of key and name, times a multiplier that depends on all the shares.

    A change of one weight changes every multiplier, so it moves keys between others too.
    """

    keyed = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        left.sort(key=lambda b: (self.weights[b], name_octets(b)))
        total = sum(map(Fraction, (self.weights[b] for b in left)))
        best: Any = None
        highest, before, multiplier, product = -1.0, 0.0, 0.0, 1.0
        for place, backend in enumerate(left):
            share, members = float(Fraction(self.weights[backend]) / total), len(left) - place
            power = members * (share - before) / product + multiplier**members
            multiplier, before = power ** (1 / members), share
            product *= multiplier
            score = multiplier * digest(octets, name_octets(backend)) / _UNIT
            if score > highest:
                best, highest = backend, score
        return best


class Straw(Membership[Any]):
    """CRUSH's straw2 in whole numbers: a logarithm in fixed point, over a weight in 16.16."""

    keyed = True
    fractional = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)

        def straw(backend: Any) -> tuple[int, bytes]:
            name = name_octets(backend)
            drawn = digest(octets, name, salt=2) >> 16 or 1
            length = round((log(drawn) - log(1 << 48)) * (1 << 44))
            return -length * 65536 // max(1, round(self.weights[backend] * 65536)), name

        return min(eligible(self.weights, avoid), key=straw)


class DxSlots(Membership[Any]):
    """DxHash: a key tries pseudo-random slots of a fixed array until one is in use."""

    keyed = True
    slots = 64

    def __init__(self) -> None:
        self._slots: list[list[Any]] = [[] for _ in range(self.slots)]
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            free = next((slot for slot in self._slots if not slot), None)
            if free is None:
                raise InvalidSetting("every slot is in use")
            free.append(backend)
        elif new is None:
            next(slot for slot in self._slots if slot == [backend]).clear()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        for tried in range(_ATTEMPTS):
            slot = self._slots[digest(octets, salt=tried) % self.slots]
            if slot and slot[0] in left:
                return slot[0]
        return min(left, key=name_octets)


class AnchorSets(Membership[Any]):
    """AnchorHash by its definition: for each bucket that left, the list of those that stayed."""

    keyed = True
    capacity = 24

    def __init__(self) -> None:
        self._stayed: dict[int, list[int]] = {
            bucket: list(range(bucket)) for bucket in range(self.capacity - 1, -1, -1)
        }
        self._at: dict[int, Any] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            if not self._stayed:
                raise InvalidSetting("the anchor is full")
            bucket = next(reversed(self._stayed))
            del self._stayed[bucket]
            self._at[bucket] = backend
        elif new is None:
            bucket = next(number for number, b in self._at.items() if b == backend)
            del self._at[bucket]
            self._stayed[bucket] = sorted(self._at)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        for attempt in range(_ATTEMPTS):
            bucket = digest(octets, salt=attempt) % self.capacity
            while bucket in self._stayed:
                stayed = self._stayed[bucket]
                mixed = digest(octets, bucket.to_bytes(4, "little"), salt=attempt)
                bucket = stayed[mixed % len(stayed)]
            if self._at[bucket] in left:
                return self._at[bucket]
        return min(left, key=lambda b: digest(octets, name_octets(b)))


class XorMetric(Membership[Any]):
    """Kademlia: the member with the identifier that is nearest to the key's, by exclusive or."""

    keyed = True
    identifiers = 64

    def __init__(self) -> None:
        self._ids: dict[Any, list[int]] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            del self._ids[backend]
        elif old is None:
            name = name_octets(backend)
            self._ids[backend] = [digest(name, salt=n) for n in range(self.identifiers)]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        point = digest(key_octets(key))
        left = eligible(self.weights, avoid)
        return min(left, key=lambda b: min(point ^ identifier for identifier in self._ids[b]))


class TwoLevels(Membership[Any]):
    """A skeleton of groups: the key chooses a group by its weight, and in it a member.

    More weight for a member attracts keys to its group, and there some go to its neighbours.
    """

    keyed = True
    fractional = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        groups: dict[int, list[Any]] = {}
        for backend in eligible(self.weights, avoid):
            groups.setdefault(digest(name_octets(backend)) % 4, []).append(backend)

        def waiting(weight: Any, *parts: bytes) -> float:
            return -log((digest(octets, *parts) + 0.5) / _UNIT) / float(weight)

        def of_group(group: int) -> float:
            weight = sum(Fraction(self.weights[b]) for b in groups[group])
            return waiting(weight, b"group", bytes([group]))

        members = groups[min(sorted(groups), key=of_group)]
        members.sort(key=name_octets)
        return min(members, key=lambda b: waiting(self.weights[b], b"member", name_octets(b)))


class Intervals(Membership[Any]):
    """The unit interval cut by weight in the order of names, as SITA cuts the sizes of jobs."""

    keyed = True
    fractional = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        point = digest(key_octets(key))
        left = sorted(eligible(self.weights, avoid), key=name_octets)
        ends = list(accumulate(Fraction(self.weights[b]) for b in left))
        return left[bisect_right(ends, ends[-1] * point / _UNIT)]


def _numbers(octets: bytes, attempt: int) -> Iterator[int]:
    drawn = 0
    while True:
        yield digest(octets, drawn.to_bytes(4, "little"), salt=attempt)
        drawn += 1


class JumpBack(Membership[Any]):
    """JumpBackHash: from the highest possible change of place down to the one that happened."""

    keyed = True

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None and backend != next(reversed(self.weights)):
            raise InvalidSetting("only the last may leave")

    @staticmethod
    def _place(numbers: Iterator[int], members: int) -> int:
        first = next(numbers)
        levels = (first ^ first >> 32) & ((1 << (members - 1).bit_length()) - 1)
        while levels:
            half = 1 << levels.bit_length() - 1
            shift = 32 * (levels.bit_count() & 1)
            place = half + (first >> shift & half - 1)
            while place >= members:
                place = next(numbers) & 2 * half - 1
                if place < half:
                    break
            else:
                return place
            levels ^= half
        return 0

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        places = list(self.weights)
        for attempt in range(_ATTEMPTS):
            backend = places[self._place(_numbers(octets, attempt), len(places))]
            if backend in left:
                return backend
        return left[digest(octets) % len(left)]


class LinearHashing(Membership[Any]):
    """Litwin's files that grow by one bucket: the next one in turn is split in two."""

    keyed = True

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None and backend != next(reversed(self.weights)):
            raise InvalidSetting("only the last may leave")

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        places = list(self.weights)
        for attempt in range(_ATTEMPTS):
            point = digest(octets, salt=attempt)
            half = 1 << len(places).bit_length() - 1
            place = point % (2 * half)
            backend = places[place if place < len(places) else place - half]
            if backend in left:
                return backend
        return left[digest(octets) % len(left)]


class SlotTable(Membership[Any]):
    """A fixed table of slots, as Redis Cluster has: who joins takes slots from the richest.

    Who owns a slot depends on what happened before, and only slots of the changed change hands.
    """

    keyed = True
    slots = 256

    def __init__(self) -> None:
        self._owners: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        held = Counter(self._owners)
        if old is None and not held:
            self._owners = [backend] * self.slots
        elif old is None:
            for _ in range(self.slots // (len(held) + 1)):
                richest = max(held, key=lambda b: (held[b], name_octets(b)))
                theirs = [slot for slot, owner in enumerate(self._owners) if owner == richest]
                self._owners[theirs[digest(name_octets(backend)) % len(theirs)]] = backend
                held[richest] -= 1
        elif new is None:
            del held[backend]
            for slot in [slot for slot, owner in enumerate(self._owners) if owner == backend]:
                poorest = min(held, key=lambda b: (held[b], name_octets(b)), default=None)
                if poorest is None:
                    self._owners = []
                    return
                held[poorest] += 1
                self._owners[slot] = poorest

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        for attempt in range(_ATTEMPTS):
            owner = self._owners[digest(octets, salt=attempt) % self.slots]
            if owner in left:
                return owner
        return min(left, key=name_octets)


class KatranTable(Membership[Any]):
    """Facebook's weighted Maglev: the heaviest fills a place in each turn, the others fewer.

    The table is made when it is first needed, and its places are in the order of the names.
    """

    keyed = True
    places = 251

    def __init__(self) -> None:
        self._table: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        self._table = []

    def _walk(self, place: int, skip: int) -> Iterator[int]:
        for _ in range(self.places):
            yield place
            place = (place + skip) % self.places

    def _filled(self) -> list[Any]:
        members = sorted((b for b, weight in self.weights.items() if weight), key=name_octets)
        heaviest = max(Fraction(self.weights[b]) for b in members)
        walks: list[Iterator[int]] = []
        for backend in members:
            name = name_octets(backend)
            offset = digest(name, salt=1) % self.places
            skip = digest(name, salt=2) % (self.places - 1) + 1
            walks.append(self._walk(offset, skip))
        table: list[list[Any]] = [[] for _ in range(self.places)]
        free, credit = self.places, [Fraction(0)] * len(members)
        while True:
            for number, backend in enumerate(members):
                credit[number] += Fraction(self.weights[backend]) / heaviest
                if credit[number] >= 1:
                    credit[number] -= 1
                    place = next(place for place in walks[number] if not table[place])
                    table[place].append(backend)
                    free -= 1
                    if not free:
                        return [held[0] for held in table]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        if not self._table:
            self._table = self._filled()
        for attempt in range(_ATTEMPTS):
            backend = self._table[digest(octets, salt=attempt) % self.places]
            if backend in left:
                return backend
        return min(left, key=lambda b: digest(octets, name_octets(b)))


class BoundedRendezvous:
    """Highest random weight, but a member that has a quarter more than its share is passed over.

    The share is that of the eligible members and of all their requests, the next one included.
    """

    keyed = True
    fractional = False
    factor = Fraction(5, 4)

    def __init__(self) -> None:
        self._members: dict[Any, list[Any]] = {}  # weight, in flight

    @property
    def weights(self) -> Any:
        return {backend: weight for backend, (weight, _) in self._members.items()}

    def put(self, backend: Any, weight: float = 1) -> None:
        weight = right_weight(weight)
        self._members.setdefault(backend, [weight, 0])[0] = weight

    def discard(self, backend: Any) -> None:
        self._members.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)
        left = eligible(self.weights, avoid)
        requests = sum(self._members[b][1] for b in left) + 1
        most = ceil(self.factor * requests / len(left))
        below = [b for b in left if self._members[b][1] < most]
        return max(below, key=lambda b: (digest(octets, name_octets(b), salt=7), name_octets(b)))

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._members:
            self._members[backend][1] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if backend in self._members and self._members[backend][1]:
            self._members[backend][1] -= 1


class SearchTree(Membership[Any]):
    """Karger's ring as a binary tree of intervals that is descended, without any sorted list."""

    keyed = True
    points = 100

    def __init__(self) -> None:
        self._root: Any = None
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        self._root = ()

    def _tree(self, points: list[tuple[int, Any]]) -> Any:
        if not points:
            return None
        middle = len(points) // 2
        return (self._tree(points[:middle]), points[middle], self._tree(points[middle + 1 :]))

    def _grown(self, usable: Callable[[Any], bool]) -> Any:
        points = [
            (digest(name_octets(b), salt=n), name_octets(b), b)
            for b, weight in self.weights.items()
            if weight and usable(b)
            for n in range(self.points)
        ]
        points.sort(key=lambda point: point[:2])
        return self._tree([(point, b) for point, _, b in points])

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        point = digest(key_octets(key))
        avoid = checked_avoid(avoid)
        if avoid:
            root = self._grown(lambda b: b not in avoid)
        else:
            if self._root == ():
                self._root = self._grown(lambda _: True)
            root = self._root
        if root is None:
            raise NoBackendAvailable("none")
        at, successor = root, None
        while at is not None:
            lower, (place, backend), higher = at
            if place >= point:
                successor, at = [backend], lower
            else:
                at = higher
        if successor:
            return successor[0]
        at = root
        while at[0] is not None:
            at = at[0]
        return at[1][1]


class ConsistentSampling(Membership[Any]):
    """Ioffe's weighted sampling: the logarithm of a weight is rounded to a random grid.

    More weight only attracts keys.  If all weights grow alike, the shares stay, but keys move.
    """

    keyed = True
    fractional = True

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        octets = key_octets(key)

        def place(backend: Any) -> tuple[float, bytes]:
            name = name_octets(backend)
            drawn = [(digest(name, octets, salt=n) + 0.5) / _UNIT for n in range(5)]
            step = -log(drawn[0] * drawn[1])
            shift = drawn[4]
            level = floor(log(self.weights[backend]) / step + shift)
            rounded = step * (level - shift)  # the logarithm of a weight
            return log(-log(drawn[2] * drawn[3])) - rounded - step, name

        return min(eligible(self.weights, avoid), key=place)


_HRW = "C. Schindelhauer, G. Schomaker, Weighted distributed hash tables, SPAA 2005"
_MOVES_LITTLE = ("keyed", "minimal_disruption")

ODD_KEYED = [
    Odd(HighestLogarithm, _HRW, (*_MOVES_LITTLE, "weighted")),
    Odd(CacheArray, "V. Valloppillil, K. Ross, draft-vinod-carp-v1-03", ("keyed", "weighted")),
    Odd(Straw, "Ceph, bucket_straw2_choose of crush/mapper.c", (*_MOVES_LITTLE, "weighted")),
    Odd(
        DxSlots,
        "C. Dong, F. Wang, DxHash, 2021",
        (*_MOVES_LITTLE, "historical"),
        max_members=48,
    ),
    Odd(
        AnchorSets,
        "G. Mendelson and others, AnchorHash, 2020, definition 1",
        (*_MOVES_LITTLE, "historical"),
        max_members=24,
    ),
    Odd(XorMetric, "P. Maymounkov, D. Mazières, Kademlia, 2002", _MOVES_LITTLE),
    Odd(TwoLevels, "W. Wang, C. Ravishankar, virtual hierarchies, 2009", ("keyed", "weighted")),
    Odd(Intervals, "M. Harchol-Balter and others, SITA, 1999", ("keyed", "weighted")),
    Odd(JumpBack, "O. Ertl, JumpBackHash, 2024", (*_MOVES_LITTLE, "stacked", "historical")),
    Odd(LinearHashing, "W. Litwin, VLDB 1980", (*_MOVES_LITTLE, "stacked", "historical")),
    Odd(
        SlotTable,
        "Redis Cluster and Couchbase, tables of slots",
        (*_MOVES_LITTLE, "historical"),
        max_members=64,
    ),
    Odd(
        KatranTable,
        "Facebook, katran/lib/MaglevHashV2.cpp",
        ("keyed", "weighted"),
        weights=(1, 2, 3, 0.5),
    ),
    Odd(
        BoundedRendezvous,
        "V. Mirrokni and others, SODA 2018, over highest random weight",
        ("keyed", "bounded"),
        bound=1.25,
    ),
    Odd(SearchTree, "D. Karger and others, STOC 1997", _MOVES_LITTLE),
    Odd(ConsistentSampling, "S. Ioffe, ICDM 2010", (*_MOVES_LITTLE, "weighted")),
]
