"""A random balancer over a Fenwick tree of the weights."""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from random import Random
from typing import Any

from balancers import Key
from balancers.membership import Membership, checked_avoid


class TreeChoice(Membership[Any]):
    """Picks at random by weight.  A pick and a change of a weight cost O(log n)."""

    fractional = True

    def __init__(self, backends: Iterable[Any] | Mapping[Any, float] = (), *, rng: Random) -> None:
        self.rng = rng
        self.places: dict[Any, int] = {}
        self.free: list[int] = []  # the places of backends that left
        self.backends: list[Any] = [None]  # the backend at each place; place 0 is not used
        self.sums = [Fraction()]  # sums[p] is the sum of the p & -p places up to place p
        super().__init__(backends)

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self.places[backend] = self.free.pop() if self.free else self.new_place()
            self.backends[self.places[backend]] = backend
        self.add(backend, Fraction(new or 0) - Fraction(old or 0))
        if new is None:
            self.free.append(self.places.pop(backend))

    def new_place(self) -> int:
        place = len(self.sums)
        self.backends.append(None)
        self.sums.append(self.sum_to(place - 1) - self.sum_to(place - (place & -place)))
        return place

    def add(self, backend: Any, amount: Fraction) -> None:
        place = self.places[backend]
        while place < len(self.sums):
            self.sums[place] += amount
            place += place & -place

    def sum_to(self, place: int) -> Fraction:
        total = Fraction()
        while place:
            total += self.sums[place]
            place -= place & -place
        return total

    def draw(self) -> Any:
        target = Fraction(self.rng.random()) * self.sum_to(len(self.sums) - 1)
        place, step = 0, 1 << len(self.sums).bit_length()
        while step := step >> 1:
            if place + step < len(self.sums) and self.sums[place + step] <= target:
                place += step
                target -= self.sums[place]
        return self.backends[place + 1]

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        members = self.places.keys() & checked_avoid(avoid)
        avoided = sorted(members, key=self.places.__getitem__)
        for backend in avoided:
            self.add(backend, -Fraction(self.weights[backend]))
        try:
            if not self.sum_to(len(self.sums) - 1):
                raise self.refusal()
            return self.draw()
        finally:
            for backend in avoided:
                self.add(backend, Fraction(self.weights[backend]))
