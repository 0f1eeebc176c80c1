"""Defines the balancer protocol.  A balancer is an object that chooses the backend of a request.

A balancer chooses by weight.  It stores one weight per backend, and three methods use these
weights:

* ``put`` inserts a backend, or changes its weight.  With weight 0 the backend stays a member, but
  it is not picked (it is *quiesced*).  It keeps its position, its counts and its averages.
* ``discard`` removes a backend and everything that is stored for it.
* ``pick`` chooses a backend.  It does not count the request.  The caller reports each request with
  ``started`` and ``finished``, or uses a ``Pool``, which does this.

A balancer does not know the reasons for a weight.  Health, drains, limits and slow start are gates
(``balancers.gate``).  A gate gives each backend a factor.  The pool multiplies the weight by the
factors of all gates, and passes the product to ``put``.  No method of a balancer blocks or reads a
clock.  Random numbers come only from a generator that the caller passed.

There are three ways to write a balancer:

* Inherit from ``balancers.membership.Membership``, and define ``pick``.  If the balancer picks by
  key, inherit from ``balancers.named_membership.NamedMembership`` instead.  The docstrings of these
  two modules list the extension points.
* Inherit from ``Balancer``, and define ``weights``, ``put``, ``discard`` and ``pick``.  The other
  members have defaults: ``keyed`` and ``fractional`` are False, and ``started`` and ``finished`` do
  nothing.
* Do not inherit, and define every member of the protocol: ``keyed``, ``fractional``, ``weights``,
  ``put``, ``discard``, ``pick``, ``started`` and ``finished``.

These members are optional.  They are not part of the protocol, so that a class without them still
conforms to it:

* ``load_of(backend, now)`` returns the load by which ``pick`` compares the backend, before it is
  divided by a weight.  The call changes no state.  ``Pool.explain`` shows the result.
* ``plan(n, key, now, avoid)`` returns up to ``n`` different backends, the best one first.  Each has
  a positive weight and is not in ``avoid``.  The first is the one that ``pick`` would return, and
  the call changes the state as this one pick does.  It raises what ``pick`` raises.  ``Pool.plan``
  calls it.
* ``timed`` (a bool, False by default).  If True, the pool measures how long each request takes, and
  ``finished`` gets an outcome with ``elapsed``.
* ``charged(backend, change, now)`` is called when the cost in flight of a backend changes: the sum
  of what its requests in flight cost.  ``change`` is an int, and not 0.  It is positive after
  ``started``, negative before or after ``finished``, and either when the application reports
  progress.  It is not called for a request without a cost.
* ``progressed(backend, elapsed, now)`` is called at the first progress of a request, for example
  its first token.  ``elapsed`` is the time in seconds since the request started.
* ``condition_changed(backend, condition)`` is called when the :data:`Condition` of a member
  changes, before ``put`` is called for this change.  It may repeat the condition.  A new member is
  open until the call.  So a balancer can distinguish why a weight is 0.

A balancer belongs to one pool, or to one other balancer that picks with it.  The owner sets the
attribute ``taken`` of the balancer to True.  If ``taken`` is True already, it raises AlreadyInUse.
The attribute is not a member of the protocol: a balancer without it counts as free.  Some objects
cannot have attributes; then it cannot be detected that such a balancer is used twice.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Literal, Protocol, runtime_checkable

from balancers._internal.types import B
from balancers.outcome import SUCCESS, Outcome

__all__ = ["Balancer", "Condition", "Key"]

Key = bytes | str | int
"""A key is the value that a request is hashed by.  A str is hashed as its UTF-8 bytes.  An int is
hashed as its 8 bytes, in little-endian order and two's complement."""

Condition = Literal["open", "full", "down", "leaving"]
"""Why a member of a pool does or does not serve requests.

"open": nothing closes it.  "full": only limits of what is in flight close it, so that it opens when
a request ends.  "leaving": its weight is 0, an update no longer contains it, or a gate that spares
bound requests closes it, for example a drain; other gates may close it too.  "down": anything else
closes it, for example health, also while the pool ignores this."""


@runtime_checkable
class Balancer(Protocol[B]):
    """Chooses a backend for each request.

    ``B`` is the type of the backends.  A backend is any hashable object, for example the text
    ``"10.0.0.1:80"``.

    A subclass must define ``weights``, ``put``, ``discard`` and ``pick``.  The other members have
    defaults.  A class that does not inherit from this class must define all members.  The pool sets
    the attribute ``taken`` of the balancer that it uses; see :mod:`balancers.balancer`.
    """

    keyed: bool = False
    """Whether the balancer picks by key.  If True, ``pick`` requires a key."""
    fractional: bool = False
    """Whether the balancer honours fractions of a weight, which slow start needs.  If False, the
    pool puts either the complete weight of a backend or 0."""

    @property
    @abstractmethod
    def weights(self) -> Mapping[B, float]:
        """The weight of every member, as a read-only mapping in order of insertion."""
        ...

    @abstractmethod
    def put(self, backend: B, weight: float = 1) -> None:
        """Insert the backend, or change its weight.

        A backend of weight 0 stays a member, but it is not picked.  A second call with the same
        weight has no effect.  Raises InvalidWeight for a weight that is negative, NaN or infinite.
        """
        ...

    @abstractmethod
    def discard(self, backend: B) -> None:
        """Remove the backend and everything that is stored for it.

        The call is ignored if the backend is not a member.
        """
        ...

    @abstractmethod
    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend that has a positive weight and is not in ``avoid``.

        Raises NoBackendAvailable if there is no such backend.  Raises MissingKey if a keyed
        balancer gets no key.  Raises TypeError if ``avoid`` is a str or bytes.  An empty str or
        bytes may be accepted; it avoids no backend.
        """
        ...

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.

        ``bound`` is True if the request already belonged to the backend (a sticky session) and was
        therefore not picked.
        """
        return

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.

        The call is ignored if the backend is not a member or has no request in flight.
        """
        return
