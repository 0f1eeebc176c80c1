"""Defines a base class for keyed balancers.  It gives each member a unique name to hash.

``NamedMembership`` is a ``balancers.membership.Membership`` in which ``keyed`` is True.  Its
extension points are:

* ``pick``: a subclass must define it.  It returns a backend that has a positive weight and is not
  in ``avoid``.  If there is none, it raises ``self.refusal()``.
* ``fractional``: a class attribute, False by default.
* ``update_named_index(backend, name, old, new)``: called before a backend joins, leaves or changes
  its weight.  Define it, instead of ``update_index``, if the balancer has an index of its own.  If
  it raises an exception, the change is not made.
* ``hash_key(key)``: returns the 64-bit hash of a key.  ``pick`` calls it.
* ``identity`` and ``hasher``: arguments of the constructor.  ``identity`` is the function that
  names a backend, and ``hasher`` is the hash function.  No subclass is needed to replace them.
* ``started``, ``finished`` and ``refusal``: as in ``Membership``.

The constructor calls ``put`` for each backend that it gets, and ``put`` calls
``update_named_index``.  Therefore a subclass must create its own attributes before it calls
``super().__init__``.

``balancers.hashing.HashedBalancer`` extends this class for balancers that pick by the hash of the
key only.  It can also pick for arrays of hashes.
"""

from collections.abc import Iterable, Mapping

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import DuplicateBackend
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of
from balancers.membership import Membership

__all__ = ["NamedMembership"]

_BITS = (1 << 64) - 1


class NamedMembership(Membership[B]):
    """Stores the members of a keyed balancer, with unique names.  A subclass defines ``pick``.

    ``identity`` is a function that returns the name of a backend, as bytes or str.  The name is
    used for hashing.  ``hasher`` is a function that returns the 64-bit hash of bytes.  The default
    is MurmurHash3.  The module docstring of :mod:`balancers.named_membership` lists the extension
    points.

    >>> class SortedModulo(NamedMembership[str]):
    ...     def __init__(self, backends=()):
    ...         self.open_by_name = {}
    ...         super().__init__(backends)
    ...     def update_named_index(self, backend, name, old, new):
    ...         if new:
    ...             self.open_by_name[name] = backend
    ...         else:
    ...             self.open_by_name.pop(name, None)
    ...     def pick(self, key=None, now=0.0, avoid=()):
    ...         digest = self.hash_key(key)
    ...         names = [n for n, b in sorted(self.open_by_name.items()) if b not in avoid]
    ...         if not names:
    ...             raise self.refusal()
    ...         return self.open_by_name[names[digest % len(names)]]
    >>> lb, other = SortedModulo(["a", "b", "c"]), SortedModulo(["c", "b", "a"])
    >>> lb.pick("user:42") == other.pick("user:42")
    True

    Raises TypeError unless ``identity`` and ``hasher`` are functions.  Raises DuplicateBackend if
    two backends have the same name.
    """

    keyed = True
    fractional = False

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        for name, function in (("identity", identity), ("hasher", hasher)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, not {shown(function)}")
        self._identity = identity
        self._hasher = Murmur3() if hasher is None else hasher
        self._by_name: dict[bytes, B] = {}
        self._names: dict[B, bytes] = {}
        super().__init__(backends)

    def hash_key(self, key: Key | None) -> int:
        """Return the 64-bit hash of a key.  ``pick`` uses it.

        Raises MissingKey for None.  Raises InvalidKey and TypeError for an invalid key.
        """
        return self._hasher(key_bytes(key)) & _BITS

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        """Get the name of the backend, and call :meth:`update_named_index`.

        Raises DuplicateBackend if another member has the same name.
        """
        name = self._names[backend] if old is not None else self._new_name(backend)
        self.update_named_index(backend, name, old, new)
        if old is None:
            self._by_name[name] = backend
            self._names[backend] = name
        if new is None:
            del self._by_name[name], self._names[backend]

    def _new_name(self, backend: B) -> bytes:
        name = key_bytes(self._identity(backend))
        if name in self._by_name:
            raise DuplicateBackend(
                f"{shown(backend)} and {shown(self._by_name[name])} have the same name, "
                f"{shown(name)}"
            )
        return name

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        """Called before the weight of a backend changes from ``old`` to ``new``.

        The backend is hashed by ``name``.  ``old`` and ``new`` are never equal.  ``old`` is None
        when the backend joins.  ``new`` is None when the backend leaves.  During the call,
        ``weights`` still contains the old weights.  If this method raises an exception, the change
        is not made, and ``put`` or ``discard`` raises the exception.  The default does nothing.
        """
