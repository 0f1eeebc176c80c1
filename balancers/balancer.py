"""The balancer protocol: the object that chooses the backend of a request.

A balancer chooses by weight.  Its complete model is one ``dict[backend, weight]``:

* ``put`` inserts a backend or changes its weight.  Weight 0 *quiesces* it: the backend stays a
  member, keeps its position, its counts and its averages, and is never picked.
* ``discard`` removes a backend and everything stored for it.
* ``pick`` chooses a backend.  It does not count the request: the caller reports requests with
  ``started`` and ``finished``, or uses a ``Pool``, which does this.

A balancer is not given the reasons for a weight.  Health, drains, limits and slow start are gates
(``balancers.gate``); the pool multiplies their factors into the weight that it puts here.  No
method blocks, reads a clock, or uses a random generator that it was not given.

There are three ways to write a balancer:

* Inherit from ``balancers.membership.Membership``, or from
  ``balancers.named_membership.NamedMembership`` if it picks by key: define ``pick``.  Their
  modules list the extension points.
* Inherit from ``Balancer``: define ``weights``, ``put``, ``discard`` and ``pick``.  ``keyed`` and
  ``fractional`` are False, ``started`` and ``finished`` do nothing, unless you define them.
* Inherit from nothing: define every member of the protocol, which are ``keyed``, ``fractional``,
  ``weights``, ``put``, ``discard``, ``pick``, ``started`` and ``finished``.

A balancer belongs to one pool.  The pool sets an attribute ``taken`` on it, and refuses a balancer
on which it is set already.  The attribute is not a member of the protocol: a balancer without it
counts as free, and an object that cannot have attributes is not protected in this way.
"""

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from balancers._internal.types import B
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Balancer", "Key"]

Key = bytes | str | int
"""The value that a request is hashed by.  A str counts as its UTF-8 bytes, an int as its 8 bytes,
little-endian, two's complement."""


@runtime_checkable
class Balancer(Protocol[B]):
    """Chooses a backend for each request.

    ``B`` is the type of the backends: any hashable, for example ``"10.0.0.1:80"`` or an object.

    A subclass must define ``weights``, ``put``, ``discard`` and ``pick``; the other members have
    defaults.  A class that does not inherit must define all of them.  The pool sets ``taken`` on
    the balancer it uses; see :mod:`balancers.balancer`.
    """

    keyed: bool = False
    """Whether the balancer picks by key."""
    fractional: bool = False
    """Whether a pool may put fractions of a weight (slow start).  If False, the pool puts either
    the backend's complete weight or 0."""

    @property
    def weights(self) -> Mapping[B, float]:
        """The weight of every member: read-only, in order of insertion."""
        ...

    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight; 0 quiesces it.  Idempotent.

        Raises InvalidWeight for a weight that is negative, NaN or infinite.
        """
        ...

    def discard(self, backend: B) -> None:
        """Remove the backend and everything stored for it.  Ignored if it is not a member."""
        ...

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend of positive weight that is not in ``avoid``.

        Raises NoBackendAvailable when there is none, MissingKey when a keyed balancer gets no key,
        TypeError for a str or bytes as ``avoid`` (an empty one avoids no backend).
        """
        ...

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.

        ``bound``: the request belonged to the backend already (a sticky session) and was not
        picked.
        """
        return

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.

        Ignored if the backend is not a member or has no request in flight.
        """
        return
