"""Keys, names of backends, and hash functions.

``hash()`` is never used: it differs between processes.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import cast

from balancers._internal.grammar import HIGHEST_PORT
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey, InvalidSetting, MissingKey

__all__ = ["Hasher", "Identity", "KeyedBlake2", "Murmur3", "XXHash64", "key_bytes", "name_of"]

Hasher = Callable[[bytes], int]
"""Returns the 64-bit hash of bytes, as an int.  A 32-bit hash is not enough: all keys would fall
before the first points of a ring."""
Identity = Callable[[B], bytes | str]
"""Returns the name of a backend, for hashing."""

_HIGHEST_SEED = 0xFFFFFFFF
_HIGHEST_LONG_SEED = 0xFFFFFFFFFFFFFFFF


class Murmur3:
    """The first 64 bits of MurmurHash3 x64 128; fast, and the default.

    Use it for keys that an attacker does not choose: with the seed, keys that collide are easy to
    find.  Picklable.

    >>> Murmur3()(b"user:42") == Murmur3(seed=0)(b"user:42") != Murmur3(seed=1)(b"user:42")
    True
    >>> Murmur3(seed=7)
    <Murmur3: seed 7>

    Raises InvalidSetting for a seed outside 0 to 2³² - 1.
    """

    __slots__ = ("_digest", "seed")

    def __init__(self, seed: int = 0) -> None:
        if type(seed) is not int or not 0 <= seed <= _HIGHEST_SEED:
            raise InvalidSetting(f"seed must be an int, 0 to {_HIGHEST_SEED}, not {seed!r}")
        from mmh3 import mmh3_x64_128_utupledigest  # noqa: PLC0415 - 2 ms, only for keyed balancers

        self._digest = mmh3_x64_128_utupledigest
        self.seed = seed

    def __repr__(self) -> str:
        return f"<Murmur3: seed {self.seed}>"

    def __call__(self, data: bytes) -> int:
        """Return the 64-bit hash; O(bytes)."""
        return self._digest(data, self.seed)[0]


class KeyedBlake2:
    """BLAKE2b (RFC 7693) with a secret, for keys that an attacker may choose.

    Processes that must agree need the same secret, of 1 to 64 bytes.  Picklable; the pickle
    contains the secret.

    >>> KeyedBlake2(b"secret")(b"user:42") == KeyedBlake2(b"another")(b"user:42")
    False
    >>> KeyedBlake2(b"secret")
    <KeyedBlake2: secret hidden>

    Raises InvalidSetting for a secret of another length.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if not isinstance(secret, bytes) or not 1 <= len(secret) <= blake2b.MAX_KEY_SIZE:
            raise InvalidSetting("secret must be 1 to 64 bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "<KeyedBlake2: secret hidden>"

    def __call__(self, data: bytes) -> int:
        """Return the 64-bit hash; O(bytes)."""
        return int.from_bytes(blake2b(data, digest_size=8, key=self._secret).digest(), "little")


class XXHash64:
    """XXH64, the hash of Envoy and caddy; as fast as Murmur3.  Needs ``balancers[xxhash]``.

    Use it for keys that an attacker does not choose.  Picklable.

    >>> hex(XXHash64()(b""))
    '0xef46db3751d8e999'
    >>> XXHash64(seed=7)
    <XXHash64: seed 7>

    Raises InvalidSetting for a seed outside 0 to 2⁶⁴ - 1, ImportError without the package.
    """

    __slots__ = ("_digest", "seed")

    def __init__(self, seed: int = 0) -> None:
        if type(seed) is not int or not 0 <= seed <= _HIGHEST_LONG_SEED:
            raise InvalidSetting(f"seed must be an int, 0 to {_HIGHEST_LONG_SEED}, not {seed!r}")
        try:
            from xxhash import xxh64_intdigest  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise ImportError(
                "XXHash64 needs the package xxhash: install balancers[xxhash]"
            ) from error
        self._digest = xxh64_intdigest
        self.seed = seed

    def __repr__(self) -> str:
        return f"<XXHash64: seed {self.seed}>"

    def __call__(self, data: bytes) -> int:
        """Return the 64-bit hash; O(bytes)."""
        return self._digest(data, self.seed)


def key_bytes(key: Key | None) -> bytes:
    r"""Return the bytes of a key.

    A str becomes its UTF-8, an int its 8 bytes, little-endian, two's complement.

    >>> key_bytes("é"), key_bytes(-2)
    (b'\xc3\xa9', b'\xfe\xff\xff\xff\xff\xff\xff\xff')

    Raises MissingKey for None, InvalidKey for a lone surrogate or an int that needs more than 64
    bits, TypeError for any other type, bool included.
    """
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        try:
            return key.encode()
        except UnicodeEncodeError as error:
            raise InvalidKey(f"key must be encodable as UTF-8, not {key!r}") from error
    if isinstance(key, int) and not isinstance(key, bool):
        try:
            return key.to_bytes(8, "little", signed=True)
        except OverflowError:
            raise InvalidKey(f"key must fit in 64 bits, signed, not {key!r}") from None
    if key is None:
        raise MissingKey("key must be given: this balancer picks by key")
    raise TypeError(f"key must be bytes, str or int, not {key!r}")


def name_of(backend: object) -> bytes | str:
    """Return the name of a backend that is a str, bytes, an int or (host, port).

    A str or bytes is its own name, an int is named by its 8 bytes as in :func:`key_bytes`, and
    (host, port) is ``host:port``, with a host that contains a colon in brackets.

    >>> name_of(("10.0.0.1", 80)), name_of(("::1", 80))
    ('10.0.0.1:80', '[::1]:80')

    Raises TypeError for anything else: pass ``identity`` to name it.  Its repr is not used, as a
    repr may contain a memory address.
    """
    if isinstance(backend, str | bytes):
        return backend
    if isinstance(backend, int) and not isinstance(backend, bool):
        return key_bytes(backend)
    if isinstance(backend, tuple):
        pair = cast("tuple[object, ...]", backend)
        match pair:
            case (str(host), int(port)) if not isinstance(port, bool) and 0 <= port <= HIGHEST_PORT:
                return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            case _:
                pass
    raise TypeError(
        f"backend must be a str, bytes, int or (host, port), not {backend!r}: "
        "use identity= to define how to name it"
    )
