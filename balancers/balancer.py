"""The heart: what a balancer is.

A balancer answers *who is next*, by weight.  Its whole model is one ``dict[backend, weight]``:

* :meth:`~Balancer.put` inserts a backend or re-weighs it.  Weight 0 *quiesces*: the backend stays
  a member, keeps its place, its counts and its averages, and is never picked.
* :meth:`~Balancer.discard` forgets a backend.
* :meth:`~Balancer.pick` chooses.  It counts nothing; who wants counts says
  :meth:`~Balancer.started` and :meth:`~Balancer.finished`, or uses a :class:`~balancers.Pool`,
  which does.

A balancer does not know why a weight is what it is.  Health, draining, limits and slow start are
gates (:mod:`balancers.gate`); the pool multiplies them into the weight it pushes here.  No method
blocks, reads a clock, or draws from a generator it was not given.

To write one, inherit and define ``weights``, ``put``, ``discard`` and ``pick`` (or start from
:class:`balancers.membership.Membership`, which leaves ``pick`` and one hook), or be a duck and
define every member of the protocol.
"""

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from balancers._internal.types import B
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Balancer", "Key"]

Key = bytes | str | int
"""What a request is hashed on.  A str is its UTF-8 bytes, an int its 8 bytes, little-endian, two's
complement."""


@runtime_checkable
class Balancer(Protocol[B]):
    """Who is next.  ``B`` is any hashable the caller owns: ``"10.0.0.1:80"`` or an object."""

    keyed: bool = False
    """Whether it picks by key."""
    fractional: bool = False
    """Whether a pool may give it fractions of a weight (slow start).  Otherwise it gets a backend's
    weight or 0."""

    @property
    def weights(self) -> Mapping[B, float]:
        """Every member and its weight: read-only, in order of insertion."""
        ...

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight; 0 quiesces.  Idempotent.

        Raises InvalidWeight for a weight that is negative, NaN or infinite.
        """
        ...

    def discard(self, backend: B) -> None:
        """Forget the backend and all that is known of it; a stranger is fine."""
        ...

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Choose a backend of positive weight that is not in ``avoid``.

        Raises NoBackendAvailable when there is none, MissingKey when a keyed balancer gets no key,
        TypeError for a str or bytes as ``avoid`` (an empty one avoids nobody).
        """
        ...

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Hear that a request began; ``bound``: it was not picked, it belonged there."""
        return

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Hear that a request ended; a stranger, or one more than began, is ignored."""
        return
