"""A base class for keyed balancers: it gives each member a unique name to hash.

``NamedMembership`` is a ``balancers.membership.Membership`` with ``keyed`` set to True.  Its
extension points are:

* ``pick``, which a subclass must define.  It returns a backend of positive weight that is not in
  ``avoid``, or raises ``self.refusal()``.
* ``fractional``: a class attribute, False by default.
* ``update_named_index(backend, name, old, new)``: called before a backend joins, leaves or changes
  its weight.  Define it, instead of ``update_index``, to keep an index of your own.  It may raise
  an exception to refuse the change.
* ``hash_key(key)``: returns the 64-bit hash of a key.  Call it from ``pick``.
* ``identity`` and ``hasher``: arguments of the constructor.  They replace the name of a backend and
  the hash function without a subclass.
* ``started``, ``finished`` and ``refusal``: as in ``Membership``.

The constructor calls ``put``, and so ``update_named_index``, for each backend that it is given: a
subclass must create its own state before it calls ``super().__init__``.

``balancers.hashing.HashedBalancer`` extends this class for balancers whose pick is a function of
the key's hash, and also picks for arrays of hashes.
"""

from collections.abc import Iterable, Mapping

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import DuplicateBackend
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of
from balancers.membership import Membership

__all__ = ["NamedMembership"]

_BITS = (1 << 64) - 1


class NamedMembership(Membership[B]):
    """A keyed balancer without ``pick``: each member has a name, and no two names are the same.

    ``identity`` returns the name of a backend, bytes or str, for hashing.  ``hasher`` returns a
    64-bit hash of bytes; MurmurHash3 by default.  The module docstring of
    :mod:`balancers.named_membership` lists the extension points.

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

    Raises TypeError unless ``identity`` and ``hasher`` are functions, DuplicateBackend for two
    backends of one name.
    """

    keyed = True
    fractional = False

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        for name, function in (("identity", identity), ("hasher", hasher)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        self._identity = identity
        self._hasher = Murmur3() if hasher is None else hasher
        self._by_name: dict[bytes, B] = {}
        self._names: dict[B, bytes] = {}
        super().__init__(backends)

    def hash_key(self, key: Key | None) -> int:
        """Return the 64-bit hash of a key, as ``pick`` uses it.

        Raises MissingKey for None, InvalidKey, TypeError.
        """
        return self._hasher(key_bytes(key)) & _BITS

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        """Look up or create the name, and call :meth:`update_named_index`.

        Raises DuplicateBackend for a name that another member has.
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
                f"{backend!r} and {self._by_name[name]!r} have the same name, {name!r}"
            )
        return name

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        """Called before a backend changes its weight from ``old`` to ``new``, which differ.

        ``name`` is the name that it is hashed by.  ``old`` is None when the backend joins, ``new``
        is None when it leaves.  ``weights`` still shows the state before.  An exception raised here
        refuses the change, and ``put`` or ``discard`` raises it.  Does nothing by default.
        """
