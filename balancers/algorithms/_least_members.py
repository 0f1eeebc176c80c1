"""Stores one backend of weighted least connections, and defines the index of all of them.

The *rank* of a member is its number of requests in flight per weight.  Ranks are exact: equal ranks
are equal numbers, and all others differ.  There are two cases:

* If all weights have at most 26 bits, a rank is a quotient of two ints as a float.  Python rounds
  it correctly, and two different quotients of such ints never have the same nearest float.
* Otherwise a rank is ``count * 2 ** shift // weight``.  The shift is twice the number of bits of
  the greatest weight, so two different quotients never have the same integral part.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import inf
from typing import Any, Generic

from balancers._internal.types import B

__all__ = ["MAX_FLOAT_RANK_BITS", "Index", "Member"]

MAX_FLOAT_RANK_BITS = 26
"""The largest size of a weight for which ranks are floats.  They are exact below 2 ** 26 requests
in flight per backend."""


class Member(Generic[B]):
    """Stores the state of one backend.

    ``given_weight`` is its weight.  ``weight`` and ``effective_weight`` are the weight as integers:
    the first one for the rank, the second one for the smooth round robin (see
    ``_smooth_scan.py``).  ``current_weight`` belongs to the smooth round robin too.  It is valid
    only while the member is not in the index.

    ``moved`` is False while the index knows the rank.  When ``count`` changes and ``moved`` is
    False, the owner sets it to True and passes the member to the index at the next pick.  It stays
    True while the member is not in the index.
    """

    __slots__ = (
        "backend",
        "bucket",
        "count",
        "current_weight",
        "effective_weight",
        "given_weight",
        "group",
        "moved",
        "place",
        "rank",
        "serial",
        "weight",
    )

    def __init__(self, backend: B, serial: int, count: int) -> None:
        self.backend = backend
        self.serial = serial
        self.count = count
        self.current_weight = self.effective_weight = self.weight = 0
        self.given_weight: float = 0
        self.moved = True
        self.rank: float = inf
        self.place: Any = None
        """Where the member is in the index.  It is None while the member is not in the index."""
        self.bucket: Any = None
        self.group: Any = None


class Index(ABC, Generic[B]):
    """Finds the member with the lowest rank, and breaks ties by smooth weighted round robin.

    ``shift`` is 0 if ranks are floats.
    """

    def __init__(self, shift: int, picks_left: float) -> None:
        self._shift = shift
        self.picks_left = picks_left
        """The number of picks until the units should be reviewed, if ranks are not floats."""

    def _rank(self, member: Member[B]) -> float:
        if self._shift:
            return (member.count << self._shift) // member.weight
        return member.count / member.weight

    def _is_review_due(self) -> bool:
        self.picks_left -= 1
        return self.picks_left < 0

    @abstractmethod
    def pick(self, moved: list[Member[B]]) -> Member[B] | None:
        """Update the ranks of the moved members, clear the list, and return the next member.

        Returns None if no member is open.  Returns None and picks nothing if ``picks_left`` was 0.
        """

    @abstractmethod
    def in_order(self, picked: Member[B]) -> Iterator[Member[B]]:
        """Yield the open members in the order in which the last pick ranked them, lazily.

        Each one would have been that pick if those before it had been closed.  ``picked`` is the
        member that was picked.  It is yielded too, but perhaps later.  No member may be waiting to
        be moved.  The index must not change during the iteration.
        """

    @abstractmethod
    def settle(self, moved: list[Member[B]]) -> None:
        """Update the ranks of the moved members and clear the list."""

    @abstractmethod
    def add(self, member: Member[B]) -> None:
        """Add a member.  Its current weight must be valid."""

    @abstractmethod
    def remove(self, member: Member[B]) -> None:
        """Remove a member, if it is in the index.  Its current weight becomes valid.

        Call :meth:`settle` first, so that no member is waiting to be moved.
        """

    @abstractmethod
    def current_weight(self, member: Member[B]) -> int:
        """Return the current weight of a member."""
