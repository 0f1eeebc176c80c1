"""``hash-type map-based`` and ``static-rr``: a list of slots, as many as the weights sum up to."""

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
    """A list of slots, and a round robin over it."""

    def __init__(self, servers: Servers = (), *, allbackups: bool = False) -> None:
        self._slots: list[str] | None = None
        self._turn = 0
        super().__init__(servers, allbackups=allbackups)

    def _map(self) -> list[str]:
        """Give the slots, made anew after a change; O(n · slots)."""
        if self._slots is None:
            self._slots = self._filled()
        return self._slots

    def _filled(self) -> list[str]:
        """Fill the slots.

        Every server gains its weight for a slot, and who takes it pays all the weights.  When a
        backup stands in alone there are as many slots as that one weighs, but all backups
        compete for them; a single slot is its own.
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
        gains = np.array(list(weights.values()), dtype=np.int64)
        alone = backup and not self._allbackups
        total = int(gains[0] if alone else gains.sum())
        if total == 1:
            return names[:1]
        scores = np.zeros(len(names), dtype=np.int64)
        slots = list[str]()
        for _ in range(total):
            scores += gains
            best = int(((scores + total) // total).argmax())
            scores[best] -= total
            slots.append(names[best])
        return slots

    def _next(self, avoid: Collection[str]) -> str | None:
        """Take the next turn; full and avoided servers lose theirs."""
        slots = self._map()
        first = self._turn if self._turn < len(slots) else 0
        for place in chain(range(first, len(slots)), range(first)):
            name = slots[place]
            if name not in self._full and name not in avoid:
                self._turn = place + 1
                return name
        return None

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        self._slots = None


class StaticRR(_Mapped):
    """``balance static-rr``: weighted round robin over slots, that of HAProxy 2.6.12.

    A server that goes down or up changes the slots, not the place in them.  HAProxy changes no
    weight at run time; ``put`` does, as a reload that keeps the place would.

    >>> farm = StaticRR({"a": 1, "b": 2, "c": 3})
    >>> "".join(farm.pick() for _ in range(8))
    'acbcbcac'

    Cost: ``pick`` O(1), and O(n · slots) after a change of weights.
    """

    def _chosen(self, key: Key | None, avoid: Collection[str]) -> str | None:
        return self._next(avoid)


class MapBased(_Mapped):
    """``hash-type map-based``, the default: a slot by the key's hash, that of HAProxy 2.6.12.

    ``hasher`` is what ``hash-type`` says after ``map-based``; by default sdbm.  A request without
    a key takes turns.  A full server is picked all the same, and the request waits for it.  HAProxy
    has no other server for a key; the ``avoid`` of ours goes on along the slots.  Any change of
    what serves moves most keys.

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

    def _chosen(self, key: Key | None, avoid: Collection[str]) -> str | None:
        digest = 0
        if not self._single():
            if key is None:
                return self._next(avoid)
            digest = self._hasher(key_bytes(key))
        slots = self._map()
        for step in range(len(slots)):
            name = slots[(digest + step) % len(slots)]
            if name not in avoid:
                return name
        return None
