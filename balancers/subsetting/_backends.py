"""Names the backends, and orders them by the hash of their names."""

from collections.abc import Iterable, Mapping

from balancers._internal.checks import as_weights, checked_callable, shown
from balancers._internal.types import B
from balancers.errors import DuplicateBackend, InvalidSetting
from balancers.keys import Hasher, Identity, Murmur3, key_bytes

__all__ = ["check_index", "int_bytes", "named", "ordered"]

_BITS = (1 << 64) - 1


def named(
    backends: Iterable[B] | Mapping[B, float], identity: Identity[B]
) -> tuple[dict[B, float], dict[bytes, B]]:
    """Return the weight of each backend, and the backend of each name; O(n).

    Raises InvalidWeight, TypeError, and DuplicateBackend if two backends have the same name.
    """
    checked_callable("identity", identity)
    weights = as_weights(backends)
    by_name: dict[bytes, B] = {}
    for backend in weights:
        name = key_bytes(identity(backend))
        if name in by_name:
            raise DuplicateBackend(
                f"{shown(backend)} and {shown(by_name[name])} have the same name, {shown(name)}"
            )
        by_name[name] = backend
    return weights, by_name


def ordered(by_name: Mapping[bytes, B], salt: bytes, hasher: Hasher | None) -> list[B]:
    """Return the backends in an order that depends only on their names and the salt; O(n log n).

    The order is that of the hashes of the salt's hash (8 bytes, little-endian) followed by the
    name.  Names with equal hashes are in byte order.
    """
    digest = Murmur3() if hasher is None else checked_callable("hasher", hasher)
    prefix = (digest(salt) & _BITS).to_bytes(8, "little")
    keys = sorted((digest(prefix + name) & _BITS, name) for name in by_name)
    return [by_name[name] for _, name in keys]


def int_bytes(number: int) -> bytes:
    """Return the bytes of an int of 0 or more, as many as it needs, in little-endian order."""
    return number.to_bytes(number.bit_length() // 8 + 1, "little")


def check_index(index: int, balancers: int) -> None:
    """Raise InvalidSetting unless the index is an int from 0 to ``balancers`` - 1."""
    if type(index) is not int or not 0 <= index < balancers:
        raise InvalidSetting(
            f"index must be an int, 0 to {shown(balancers)} - 1, not {shown(index)}"
        )
