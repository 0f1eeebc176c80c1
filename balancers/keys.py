"""Converts keys and the names of backends to bytes, and computes hashes of bytes.

The builtin ``hash()`` is never used, because its results differ between processes.
"""

from collections.abc import Callable
from typing import Any, cast

from balancers._internal.checks import HIGHEST_PORT, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey, InvalidSetting, MissingKey

__all__ = ["Hasher", "Identity", "KeyedBlake2", "Murmur3", "XXHash64", "key_bytes", "name_of"]

Hasher = Callable[[bytes], int]
"""A function that returns the 64-bit hash of bytes, as an int.  A 32-bit hash is too short: a hash
ring would place all keys before its first points (the positions of the backends)."""
Identity = Callable[[B], bytes | str]
"""A function that returns the name of a backend.  The backend is hashed by this name."""

_HIGHEST_SEED = 0xFFFFFFFF
_HIGHEST_LONG_SEED = 0xFFFFFFFFFFFFFFFF


class Murmur3:
    """Returns the first 64 bits of MurmurHash3 x64 128.  It is fast, and it is the default hasher.

    Do not use it for keys that an attacker may choose.  No seed helps, not even a secret one: it is
    easy to construct many keys that have the same hash under every seed, for example 1024 keys of
    320 bytes.  :class:`KeyedBlake2` helps.  A seed only makes the choices of two balancers
    independent of each other.  An instance can be pickled.

    >>> Murmur3()(b"user:42") == Murmur3(seed=0)(b"user:42") != Murmur3(seed=1)(b"user:42")
    True
    >>> Murmur3(seed=7)
    <Murmur3: seed 7>

    Raises InvalidSetting for a seed outside 0 to 2³² - 1.
    """

    __slots__ = ("_digest", "seed")

    def __init__(self, seed: int = 0) -> None:
        if type(seed) is not int or not 0 <= seed <= _HIGHEST_SEED:
            raise InvalidSetting(f"seed must be an int, 0 to {_HIGHEST_SEED}, not {shown(seed)}")
        from mmh3 import mmh3_x64_128_utupledigest  # noqa: PLC0415 - only keyed balancers need it

        self._digest = mmh3_x64_128_utupledigest
        self.seed: int = seed

    def __repr__(self) -> str:
        return f"<Murmur3: seed {self.seed}>"

    def __call__(self, data: bytes) -> int:
        """Return the 64-bit hash; O(bytes)."""
        return self._digest(data, self.seed)[0]


class KeyedBlake2:
    """Hashes with BLAKE2b (RFC 7693) and a secret, for keys that an attacker may choose.

    Without the secret, keys with the same hash cannot be constructed.  The secret has 1 to 64
    bytes; use at least 16 random bytes.  Processes that must choose the same backends need the same
    secret.  An instance can be pickled; the pickle contains the secret.

    >>> KeyedBlake2(b"secret")(b"user:42") == KeyedBlake2(b"another")(b"user:42")
    False
    >>> KeyedBlake2(b"secret")
    <KeyedBlake2: secret hidden>

    Raises InvalidSetting for a secret of another length.
    """

    __slots__ = ("_blake2b", "_secret")

    def __init__(self, secret: bytes) -> None:
        from hashlib import blake2b  # noqa: PLC0415 - only this class needs it

        if not isinstance(secret, bytes) or not 1 <= len(secret) <= blake2b.MAX_KEY_SIZE:
            raise InvalidSetting("secret must be 1 to 64 bytes")
        self._blake2b = blake2b
        self._secret = secret

    def __repr__(self) -> str:
        return "<KeyedBlake2: secret hidden>"

    def __call__(self, data: bytes) -> int:
        """Return the 64-bit hash; O(bytes)."""
        return int.from_bytes(
            self._blake2b(data, digest_size=8, key=self._secret).digest(), "little"
        )


class XXHash64:
    """Hashes with XXH64, like Envoy and Caddy.

    It needs the optional package ``balancers[xxhash]``.  An instance can be pickled.

    Do not use it for keys that an attacker may choose.  No seed helps, not even a secret one: it is
    easy to construct many keys that have few different hashes under every seed, for example 81 keys
    of 64 bytes with at most 16 hashes.  :class:`KeyedBlake2` helps.

    >>> hex(XXHash64()(b""))
    '0xef46db3751d8e999'
    >>> XXHash64(seed=7)
    <XXHash64: seed 7>

    Raises InvalidSetting for a seed outside 0 to 2⁶⁴ - 1.  Raises ImportError if the optional
    package is not installed.
    """

    __slots__ = ("_digest", "seed")

    def __init__(self, seed: int = 0) -> None:
        if type(seed) is not int or not 0 <= seed <= _HIGHEST_LONG_SEED:
            raise InvalidSetting(
                f"seed must be an int, 0 to {_HIGHEST_LONG_SEED}, not {shown(seed)}"
            )
        try:
            from xxhash import xxh64_intdigest  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise ImportError(
                "XXHash64 needs the package xxhash: install balancers[xxhash]"
            ) from error
        self._digest = xxh64_intdigest
        self.seed: int = seed

    def __repr__(self) -> str:
        return f"<XXHash64: seed {self.seed}>"

    def __call__(self, data: bytes) -> int:
        """Return the 64-bit hash; O(bytes)."""
        return self._digest(data, self.seed)


def key_bytes(key: Key | None) -> bytes:
    r"""Return the bytes that a key is hashed by.

    A str becomes its UTF-8 bytes.  An int becomes its 8 bytes, in little-endian order and two's
    complement.  Bytes are returned unchanged.

    >>> key_bytes("é"), key_bytes(-2)
    (b'\xc3\xa9', b'\xfe\xff\xff\xff\xff\xff\xff\xff')

    Raises MissingKey for None.  Raises InvalidKey for a lone surrogate, or for an int that needs
    more than 64 bits.  Raises TypeError for any other type, including bool.
    """
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        try:
            return key.encode()
        except UnicodeEncodeError as error:
            raise InvalidKey(f"key must be encodable as UTF-8, not {shown(key)}") from error
    if isinstance(key, int) and not isinstance(key, bool):
        try:
            return key.to_bytes(8, "little", signed=True)
        except OverflowError:
            raise InvalidKey(f"key must fit in 64 bits, signed, not {shown(key)}") from None
    if key is None:
        raise MissingKey("key must be given: this balancer picks by key")
    raise TypeError(f"key must be bytes, str or int, not {shown(key)}")


def name_of(backend: Any) -> bytes | str:
    """Return the name of a backend that is a str, bytes, an int or a pair (host, port).

    The name of a str or bytes is the backend itself.  The name of an int is its 8 bytes, as
    :func:`key_bytes` returns them.  The name of a pair is ``host:port``.  If the host contains a
    colon, it is enclosed in brackets.

    >>> name_of(("10.0.0.1", 80)), name_of(("::1", 80))
    ('10.0.0.1:80', '[::1]:80')

    Raises TypeError for any other backend.  For such backends, pass a function as ``identity`` that
    returns their names.  The repr of a backend is not used, because it may contain a memory
    address.
    """
    # The parameter is Any and not object: else pyright infers object as the type of all backends.
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
        f"backend must be a str, bytes, int or (host, port), not {shown(cast('object', backend))}: "
        "use identity= to define how to name it"
    )
