"""Defines a base class for balancers.  It validates weights and stores the members.

``Membership`` defines ``weights``, ``put`` and ``discard``.  Its extension points are:

* ``pick``: a subclass must define it.  It returns a backend that has a positive weight and is not
  in ``avoid``.  If there is none, it raises ``self.refusal()``.
* ``keyed`` and ``fractional``: class attributes, both False by default.  Set ``keyed`` to True if
  ``pick`` needs a key.  Set ``fractional`` to True if ``pick`` honours fractions of a weight.
* ``update_index(backend, old, new)``: called before a backend joins, leaves or changes its weight.
  Define it if the balancer has an index of its own, for example a sorted list.  If it raises an
  exception, the change is not made.
* ``started`` and ``finished``: called when a request starts and ends.  Define them to count
  requests.
* ``plan(n, key, now, avoid)``: returns up to ``n`` different backends.  Each is the pick when those
  before it are avoided, and the state changes as by one pick.  Define it if ``Pool.plan`` should
  work; there is no default, because it would have to copy the balancer.
* ``refusal()``: returns the error that explains why no backend can be picked.  ``pick`` calls it.
  Override it only if the balancer has additional reasons.

The constructor calls ``put`` for each backend that it gets, and ``put`` calls ``update_index``.
Therefore a subclass must create its own attributes before it calls ``super().__init__``.  A deep
copy shares the backends with the original.  Everything else is copied.

``balancers.named_membership.NamedMembership`` is the base class for balancers that pick by key.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from balancers._internal.checks import as_weights, checked_avoid, valid_weight
from balancers._internal.copying import SharesBackends
from balancers._internal.refusals import shared_reason
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import NoBackendAvailable

__all__ = ["Membership", "checked_avoid"]


class Membership(SharesBackends, Balancer[B]):
    """Stores the members of a balancer and their weights.  A subclass defines ``pick``.

    The members are stored in order of insertion.  The module docstring of
    :mod:`balancers.membership` lists the extension points.  A deep copy shares the backends with
    the original.  Everything else is copied.

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

    def __init__(self, backends: Iterable[B] | Mapping[B, float] | None = None) -> None:
        self._weights: dict[B, float] = {}
        self._open = 0
        for backend, weight in as_weights(() if backends is None else backends).items():
            self.put(backend, weight)

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member, as a read-only view in order of insertion; O(1)."""
        return MappingProxyType(self._weights)

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight.  The cost is that of :meth:`update_index`.

        A backend of weight 0 stays a member, but it is not picked.  Raises InvalidWeight.  Raises
        TypeError for a backend that is not hashable.  After an error nothing has changed.
        """
        weight = valid_weight(weight, backend)
        old = self._weights.get(backend)
        if old == weight:
            return
        self.update_index(backend, old, weight)
        self._weights[backend] = weight
        self._open += (weight > 0) - (old is not None and old > 0)

    def discard(self, backend: B) -> None:
        """Remove the backend.  The call is ignored if the backend is not a member."""
        old = self._weights.get(backend)
        if old is None:
            return
        self.update_index(backend, old, None)
        del self._weights[backend]
        self._open -= old > 0

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        """Called before the weight of a backend changes from ``old`` to ``new``.

        ``old`` and ``new`` are never equal.  ``old`` is None when the backend joins.  ``new`` is
        None when the backend leaves.  During the call, ``weights`` still contains the old weights.
        If this method raises an exception, the change is not made, and ``put`` or ``discard``
        raises the exception.  The default does nothing.
        """

    def refusal(self) -> NoBackendAvailable:
        """Return the error to raise when no backend can be picked; O(1).

        The error counts every member of positive weight as avoided.
        """
        members = len(self._weights)
        closed = {"quiesced": members - self._open, "avoided": self._open}
        counts = {reason: count for reason, count in closed.items() if count}
        return NoBackendAvailable(shared_reason(counts, members), counts)

    def _known_backends(self) -> Iterable[object]:
        return self._weights

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._open} of {len(self._weights)} open>"
