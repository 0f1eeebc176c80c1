"""A base class for balancers: it validates weights and keeps the members.

``Membership`` defines ``weights``, ``put`` and ``discard``.  Its extension points are:

* ``pick``, which a subclass must define.  It returns a backend of positive weight that is not in
  ``avoid``, or raises ``self.refusal()``.
* ``keyed`` and ``fractional``: class attributes, both False by default.  Set ``keyed`` if ``pick``
  needs a key, ``fractional`` if it honours fractions of a weight.
* ``update_index(backend, old, new)``: called before a backend joins, leaves or changes its weight.
  Define it to keep an index of your own, for example a sorted list.  It may raise an exception to
  refuse the change.
* ``started`` and ``finished``: called when a request starts and ends.  Define them to count
  requests.
* ``refusal()``: returns the error that explains why no backend can be picked.  Call it; override it
  only if the balancer has reasons of its own.

The constructor calls ``put``, and so ``update_index``, for each backend that it is given.  A
subclass must create its own state before it calls ``super().__init__``.  Deep copies share the
backends and copy everything else.

``balancers.named_membership.NamedMembership`` is the same for balancers that pick by key.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from balancers._internal.checks import as_weights, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.refusals import shared_reason
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import NoBackendAvailable

__all__ = ["Membership"]


class Membership(SharesBackends, Balancer[B]):
    """A balancer without ``pick``: members in order of insertion, each with a valid weight.

    The module docstring of :mod:`balancers.membership` lists the extension points.  Copies share
    the backends; everything else is copied.

    >>> class Heaviest(Membership[str]):
    ...     def __init__(self, backends=()):
    ...         self.order = []
    ...         super().__init__(backends)
    ...     def update_index(self, backend, old, new):
    ...         if old is not None:
    ...             self.order.remove((-old, backend))
    ...         if new is not None:
    ...             self.order.append((-new, backend))
    ...         self.order.sort()
    ...     def pick(self, key=None, now=0.0, avoid=()):
    ...         for weight, backend in self.order:
    ...             if weight and backend not in avoid:
    ...                 return backend
    ...         raise self.refusal()
    >>> lb = Heaviest({"a": 0, "b": 1, "c": 2})
    >>> lb
    <Heaviest: 2 of 3 open>
    >>> lb.pick(), lb.pick(avoid=["c"])
    ('c', 'b')
    >>> lb.pick(avoid=["b", "c"])
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: mixed (1 quiesced, 2 avoided)
    """

    def __init__(self, backends: Iterable[B] | Mapping[B, float] = ()) -> None:
        self._weights: dict[B, float] = {}
        self._open = 0
        for backend, weight in as_weights(backends).items():
            self.put(backend, weight)

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member: a read-only view, in order of insertion; O(1)."""
        return MappingProxyType(self._weights)

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight; 0 quiesces it.

        Costs what :meth:`update_index` costs.  Raises InvalidWeight; TypeError for an unhashable
        backend.  Nothing has changed then.
        """
        weight = valid_weight(weight, backend)
        old = self._weights.get(backend)
        if old == weight:
            return
        self.update_index(backend, old, weight)
        self._weights[backend] = weight
        self._open += (weight > 0) - (old is not None and old > 0)

    def discard(self, backend: B) -> None:
        """Remove the backend.  Ignored if it is not a member."""
        old = self._weights.get(backend)
        if old is None:
            return
        self.update_index(backend, old, None)
        del self._weights[backend]
        self._open -= old > 0

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        """Called before a backend changes its weight from ``old`` to ``new``, which differ.

        ``old`` is None when the backend joins, ``new`` is None when it leaves.  ``weights`` still
        shows the state before.  An exception raised here refuses the change, and ``put`` or
        ``discard`` raises it.  Does nothing by default.
        """

    def refusal(self) -> NoBackendAvailable:
        """Return the error to raise when no backend can be picked; O(1).

        It assumes that every open member was avoided.
        """
        members = len(self._weights)
        closed = {"quiesced": members - self._open, "avoided": self._open}
        counts = {reason: count for reason, count in closed.items() if count}
        return NoBackendAvailable(shared_reason(counts, members), counts)

    def _known_backends(self) -> Iterable[object]:
        return self._weights

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._open} of {len(self._weights)} open>"
