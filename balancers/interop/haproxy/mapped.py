"""``hash-type map-based`` and ``static-rr``: a list of slots, one per unit of weight."""

from collections.abc import Callable, Collection
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
    """A list of slots, with a round robin over it."""

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._slots: list[str] | None = None
        self._next_slot = 0
        super().__init__(servers, allbackups=allbackups)

    def _current_slots(self) -> list[str]:
        """Return the slots, built anew after a change; O(n · slots)."""
        if self._slots is None:
            self._slots = self._build_slots()
        return self._slots

    def _build_slots(self) -> list[str]:
        """Fill the slots by a smooth weighted round robin.

        For each slot, every server adds its weight to its score.  The server that gets the slot
        subtracts the total weight.  If a backup serves alone, the number of slots is its own
        weight, but all backups compete for them; if there is only one slot, that backup gets it.
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
        """Return the server of the next slot; full and avoided servers lose their turn."""
        slots = self._current_slots()
        first = self._next_slot if self._next_slot < len(slots) else 0
        for place in chain(range(first, len(slots)), range(first)):
            name = slots[place]
            if name not in self._full and name not in avoid:
                self._next_slot = place + 1
                return name
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        self._slots = None


class StaticRR(_Mapped):
    """``balance static-rr`` of HAProxy 2.6.12: weighted round robin over slots.

    When a server goes down or comes up, the slots change, but not the position in them.  HAProxy
    cannot change weights at run time with this algorithm.  Here ``put`` can; the position stays.

    >>> farm = StaticRR({"a": 1, "b": 2, "c": 3})
    >>> "".join(farm.pick() for _ in range(8))
    'acbcbcac'

    Cost: ``pick`` O(1), and O(n · slots) after a change of weights.
    """

    def _choose(self, key: Key | None, avoid: Collection[str]) -> str | None:
        return self._round_robin(avoid)


class MapBased(_Mapped):
    """``hash-type map-based`` of HAProxy 2.6.12, the default: the hash of the key selects a slot.

    ``hasher`` is the function that ``hash-type`` names after ``map-based``; the default is sdbm.
    Requests without a key are picked in turn.  A full server is picked too, and in HAProxy the
    request waits for it.  HAProxy has no second server for a key; here ``avoid`` goes on along the
    slots.  Any change of the servers that serve moves most keys.

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
        digest = 0
        if not self._one_serves():
            if key is None:
                return self._round_robin(avoid)
            digest = self._hasher(key_bytes(key))
        slots = self._current_slots()
        for step in range(len(slots)):
            name = slots[(digest + step) % len(slots)]
            if name not in avoid:
                return name
        return None
