"""Members that hash: each has a name, no two the same."""

from collections.abc import Iterable, Mapping

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import DuplicateBackend
from balancers.keys import Hasher, Identity, Murmur3, key_bytes, name_of
from balancers.membership import Membership

__all__ = ["NamedMembership"]

_BITS = (1 << 64) - 1


class NamedMembership(Membership[B]):
    """A keyed balancer but for ``pick``; a subclass hears of changes in :meth:`update_named_index`.

    ``identity`` names a backend for hashing, ``hasher`` gives 64 bits of bytes.
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
        self._named: dict[bytes, B] = {}
        self._names: dict[B, bytes] = {}
        super().__init__(backends)

    def hash_key(self, key: Key | None) -> int:
        """Return the 64-bit hash of a key, as ``pick`` uses it.

        Raises MissingKey, InvalidKey, TypeError.
        """
        return self._hasher(key_bytes(key)) & _BITS

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        name = self._names[backend] if old is not None else self._new_name(backend)
        self.update_named_index(backend, name, old, new)
        if old is None:
            self._named[name] = backend
            self._names[backend] = name
        if new is None:
            del self._named[name], self._names[backend]

    def _new_name(self, backend: B) -> bytes:
        name = key_bytes(self._identity(backend))
        if name in self._named:
            raise DuplicateBackend(f"{backend!r} and {self._named[name]!r} are both {name!r}")
        return name

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        """Hear of a change before anything shows it; None is no member.  May refuse by raising."""
