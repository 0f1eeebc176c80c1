"""One row of a register of right but unusual objects, and what their authors need to share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from typing import Any

from balancers import NoBackendAvailable
from balancers.errors import InvalidWeight, MissingKey

__all__ = ["Odd", "digest", "eligible", "key_octets", "name_octets", "right_weight"]


@dataclass(frozen=True)
class Odd:
    """One right balancer, with the arguments that ``check_balancer`` takes for it."""

    make: Callable[..., Any]
    """Returns a new, empty balancer; takes ``rng`` if the balancer draws random numbers."""
    source: str
    """The paper or program that the idea is from."""
    traits: tuple[str, ...] = ()
    keys: Sequence[Any] | None = None
    weights: str | Sequence[float] | None = None
    max_members: int | None = None
    bound: float | None = None

    @property
    def name(self) -> str:
        return str(self.make.__name__)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of ``check_balancer``."""
        given = {
            "keys": self.keys,
            "weights": self.weights,
            "max_members": self.max_members,
            "bound": self.bound,
        }
        return {name: value for name, value in given.items() if value is not None}


def right_weight(weight: Any) -> Any:
    """Return the weight.  Refuse only what the contract says, so True counts as 1."""
    try:
        right = isfinite(weight) and weight >= 0
    except TypeError:
        right = False
    except OverflowError:
        right = False
    if not right:
        raise InvalidWeight(f"{weight!r} is not a weight")
    return weight


def eligible(weights: Mapping[Any, Any], avoid: Collection[Any]) -> list[Any]:
    """Return the backends that a balancer may pick, in order.  Raise if there are none."""
    if isinstance(avoid, str | bytes):
        raise TypeError("avoid must hold backends")
    left = [backend for backend, weight in weights.items() if weight and backend not in avoid]
    if not left:
        raise NoBackendAvailable("none")
    return left


def key_octets(key: Any) -> bytes:
    """Return a key as bytes that no key of another type or length shares."""
    if key is None:
        raise MissingKey("this balancer picks by key")
    kind = b"i" if isinstance(key, int) else b"b" if isinstance(key, bytes) else b"s"
    return kind + (key if isinstance(key, bytes) else str(key).encode())


def name_octets(backend: Any) -> bytes:
    """Return the name of a backend as bytes.  Only its text counts."""
    return str(backend).encode()


def digest(*parts: bytes, salt: int = 0) -> int:
    """Return the 64-bit BLAKE2b hash of parts, each with its length, so that none run together."""
    hashed = blake2b(salt.to_bytes(8, "little"), digest_size=8)
    for part in parts:
        hashed.update(len(part).to_bytes(4, "little") + part)
    return int.from_bytes(hashed.digest(), "little")
