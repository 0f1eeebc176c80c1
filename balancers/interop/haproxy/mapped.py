"""Picks a server from a list of slots, as ``hash-type map-based`` and ``static-rr`` do.

The weights are divided by their greatest common divisor.  A server then has one slot per unit of
weight.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import chain
from math import gcd

import numpy as np

from balancers.balancer import Key
from balancers.interop.haproxy.farm import Farm, Servers
from balancers.interop.haproxy.hashes import Hash
from balancers.keys import key_bytes

__all__ = ["MapBased", "StaticRR"]

_SDBM = Hash()


class _Mapped(Farm):
    """Keeps a list of slots, each with one server.

    A round robin over the slots picks the servers for requests without a key.
    """

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._slots: list[str] | None = None
        self._next_slot = 0
        super().__init__(servers, allbackups=allbackups)

    def _current_slots(self) -> list[str]:
        """Return the list of slots.

        After a change of the servers, the list is built first; O(n · slots).
        """
        if self._slots is None:
            self._slots = self._build_slots()
        return self._slots

    def _build_slots(self) -> list[str]:
        """Return a new list of slots, filled by a smooth weighted round robin.

        For each slot, every server adds its weight to its score.  The scores are compared after
        division by the total weight, rounded down.  The first server with the greatest result gets
        the slot and subtracts the total weight from its score.  Without ``allbackups``, the total
        weight of the backups is the weight of the first backup that is up.  All backups that are up
        can still get slots.  But if there is only one slot, the first backup gets it.
        """
        divisor = gcd(*(server.weight for server in self._servers.values()))
        backup = not self._up[False]
        weights = {
            name: int(weight) // divisor
            for name, weight in self._weights.items()
            if weight and self._servers[name].backup is backup
        }
        names = list(weights)
        if not names:
            return []
        steps = np.array(list(weights.values()), dtype=np.int64)
        alone = backup and not self._allbackups
        total = int(steps[0] if alone else steps.sum())
        if total == 1:
            return names[:1]
        scores = np.zeros(len(names), dtype=np.int64)
        slots = list[str]()
        for _ in range(total):
            scores += steps
            best = int(((scores + total) // total).argmax())
            scores[best] -= total
            slots.append(names[best])
        return slots

    def _round_robin(self, avoid: Collection[str]) -> str | None:
        """Return the server of the next slot.  Slots of full and avoided servers are skipped."""
        slots = self._current_slots()
        first = self._next_slot if self._next_slot < len(slots) else 0
        for place in chain(range(first, len(slots)), range(first)):
            name = slots[place]
            if name not in self._full and name not in avoid:
                self._next_slot = place + 1
                return name
        return None

    def _turns(self) -> Iterator[str]:
        """Yield the servers of the next slots that are not full."""
        slots = self._current_slots()
        first = self._next_slot if self._next_slot < len(slots) else 0
        places = chain(range(first, len(slots)), range(first))
        return (slots[place] for place in places if slots[place] not in self._full)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        self._slots = None


class StaticRR(_Mapped):
    """Picks what ``balance static-rr`` of HAProxy 2.6.12 picks, by weighted round robin.

    The servers are picked from a list of slots, in turn.  When a server goes down or comes up, the
    list is built again, but the current position in the list does not change.  With this algorithm,
    HAProxy cannot change weights at run time.  Here ``put`` can change a weight, and the position
    does not change.

    >>> farm = StaticRR({"a": 1, "b": 2, "c": 3})
    >>> "".join(farm.pick() for _ in range(8))
    'acbcbcac'

    Cost: ``pick`` O(1), and O(n · slots) after a change of weights.
    """

    def _choose(self, key: Key | None, avoid: Collection[str]) -> str | None:
        return self._round_robin(avoid)

    def _in_order(self, key: Key | None) -> Iterator[str]:
        return self._turns()


class MapBased(_Mapped):
    """Picks what ``hash-type map-based`` of HAProxy 2.6.12 picks.  It is the default ``hash-type``.

    The servers have slots in a list, and the hash of the key selects a slot.  ``hasher`` is the
    hash function that follows ``map-based`` in the configuration.  The default is sdbm.  Requests
    without a key use the slots in turn.  A server can be picked even if it has ``maxconn`` requests
    in flight.  In HAProxy, the request then waits for the server.  If the server of a key is in
    ``avoid``, the servers of the next slots are tried.  HAProxy itself has no second server for a
    key.  When a server goes down, comes up or changes its weight, most keys move.

    >>> farm = MapBased({"a": 1, "b": 2, "c": 3}, hasher=Hash(avalanche=True))
    >>> farm.pick("user:42"), farm.pick(None), farm.pick(None)
    ('c', 'a', 'c')

    Cost: ``pick`` O(1), and O(n · slots) after a change of weights.
    """

    keyed = True

    def __init__(
        self,
        servers: Servers = (),
        *,
        hasher: Hash | Callable[[bytes], int] = _SDBM,
        allbackups: bool = False,
    ) -> None:
        self._hasher = hasher if isinstance(hasher, Hash) else Hash(hasher)
        super().__init__(servers, allbackups=allbackups)

    def _choose(self, key: Key | None, avoid: Collection[str]) -> str | None:
        if key is None and not self._one_serves():
            return self._round_robin(avoid)
        return next((name for name in self._in_order(key) if name not in avoid), None)

    def _in_order(self, key: Key | None) -> Iterator[str]:
        digest = 0
        if not self._one_serves():
            if key is None:
                return self._turns()
            digest = self._hasher(key_bytes(key))
        slots = self._current_slots()
        return (slots[(digest + step) % len(slots)] for step in range(len(slots)))
