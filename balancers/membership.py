"""Members and their weights, validated once: what the balancers of this package start from."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from balancers._internal.checks import as_weights, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import NoBackendAvailable

__all__ = ["Membership"]


class Membership(SharesBackends, Balancer[B]):
    """A balancer but for ``pick``: members in order of insertion, each with a valid weight.

    A subclass defines :meth:`pick` and hears of every change in :meth:`update_index`.  Copies share the
    backends; everything else is copied.

    >>> class First(Membership[str]):
    ...     def pick(self, key=None, now=0.0, avoid=()):
    ...         for backend, weight in self.weights.items():
    ...             if weight and backend not in avoid:
    ...                 return backend
    ...         raise self.refusal()
    >>> First({"a": 0, "b": 2, "c": 1}).pick(avoid=["b"])
    'c'
    """

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = ()) -> None:
        self._weights: dict[B, float] = {}
        self._open = 0
        for backend, weight in as_weights(backends).items():
            self.put(backend, weight)

    @property
    def weights(self) -> Mapping[B, float]:
        """Every member and its weight: a read-only view, in order of insertion; O(1)."""
        return MappingProxyType(self._weights)

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert or re-weigh; 0 quiesces.  Cost: that of the balancer's own change.

        Raises InvalidWeight; TypeError for an unhashable backend.  Nothing has changed then.
        """
        weight = valid_weight(weight, backend)
        old = self._weights.get(backend)
        if old == weight:
            return
        self.update_index(backend, old, weight)
        self._weights[backend] = weight
        self._open += (weight > 0) - (old is not None and old > 0)

    def discard(self, backend: B) -> None:
        """Forget the backend; a stranger is fine."""
        old = self._weights.get(backend)
        if old is None:
            return
        self.update_index(backend, old, None)
        del self._weights[backend]
        self._open -= old > 0

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        """Hear of a change before it shows; None is no member.  May refuse by raising."""

    def refusal(self) -> NoBackendAvailable:
        """Say why nobody can be picked, given that every open member was avoided; O(1)."""
        members = len(self._weights)
        if not members:
            return NoBackendAvailable("empty")
        told = {"quiesced": members - self._open, "avoided": self._open}
        counts = {why: count for why, count in told.items() if count}
        return NoBackendAvailable(next(iter(counts)) if len(counts) == 1 else "mixed", counts)

    def _known_backends(self) -> Iterable[object]:
        return self._weights

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._open} of {len(self._weights)} open>"
