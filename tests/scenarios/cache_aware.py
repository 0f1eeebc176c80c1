"""The cache-aware rule of SGLang's router, for comparison."""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from random import Random
from typing import Any

from balancers.balancer import Key
from balancers.membership import Membership, checked_avoid
from balancers.outcome import SUCCESS, Outcome

__all__ = ["CacheAware"]


class CacheAware(Membership[Any]):
    """Picks by prefix, unless the loads differ too much.

    The load of a backend is its number of requests in flight.  If the highest load is more than
    ``absolute`` above the lowest one, and more than ``relative`` times as high, the least loaded
    backend is picked.  Otherwise, the backend with the longest match is picked, if more than the
    part ``threshold`` of the prompt matches, and if not, the backend with the least in its cache.
    Each pick is entered into the tree of its backend, which keeps ``size`` blocks.

    Source: sgl-project/sglang, the policy ``cache_aware`` of its router, as it is documented.
    """

    keyed = True

    def __init__(
        self,
        backends: Iterable[Any],
        threshold: float,
        absolute: int,
        relative: float,
        size: int = 1 << 20,
    ) -> None:
        self._settings = threshold, absolute, relative
        self._size = size
        self._counts: dict[Any, int] = {}
        self._trees: dict[Any, OrderedDict[bytes, None]] = {}
        self._rng = Random(1)
        super().__init__(backends)

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self._counts[backend] = 0
            self._trees[backend] = OrderedDict()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
        assert isinstance(key, bytes)
        assert not checked_avoid(avoid)
        threshold, absolute, relative = self._settings
        blocks = [key[place : place + 8] for place in range(0, len(key), 8)]
        high, low = max(self._counts.values()), min(self._counts.values())
        if high - low > absolute and high > relative * low:
            picked = self._least(self._counts)
        else:
            matches = {each: self._match(tree, blocks) for each, tree in self._trees.items()}
            longest = max(matches.values())
            if longest > threshold * len(blocks):
                picked = next(each for each, match in matches.items() if match == longest)
            else:
                picked = self._least({each: len(tree) for each, tree in self._trees.items()})
        tree = self._trees[picked]
        for block in reversed(blocks):
            tree[block] = None
            tree.move_to_end(block)
        while len(tree) > self._size:
            tree.popitem(last=False)
        return picked

    def _least(self, costs: dict[Any, int]) -> Any:
        low = min(costs.values())
        return self._rng.choice([each for each, cost in costs.items() if cost == low])

    @staticmethod
    def _match(tree: OrderedDict[bytes, None], blocks: list[bytes]) -> int:
        return next((n for n, block in enumerate(blocks) if block not in tree), len(blocks))

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        self._counts[backend] += 1

    def finished(self, backend: Any, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        self._counts[backend] -= 1
