"""The hash of a request by the hash policies of a route."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from re import Pattern

from balancers.addresses import address_of
from balancers.errors import InvalidKey, InvalidSetting
from balancers.hashing.hashed_balancer import BITS
from balancers.http.request import Request
from balancers.keys import XXHash64, key_bytes

__all__ = ["Cookie", "HashPolicy", "Header", "QueryParameter", "SourceIP", "request_hash"]


@dataclass(frozen=True, slots=True)
class Header:
    """XXH64 of the value of a header: the whole line as received; an empty one is hashed too.

    With several lines, the values are sorted, and the hash of each value is the seed for the next.
    ``pattern`` and ``substitution`` are ``regex_rewrite``: every match is replaced before hashing.
    The pattern is a Python regular expression.  Envoy uses RE2, which has the same syntax except
    for look-around and back-references.
    """

    name: str
    pattern: Pattern[str] | None = None
    substitution: str = ""
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.pattern is not None and not isinstance(self.pattern, Pattern):
            raise InvalidSetting(f"pattern must be a compiled pattern, not {self.pattern!r}")

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the request has no such header."""
        values = request.header(self.name)
        if self.pattern is not None:
            values = tuple(self.pattern.sub(self.substitution, value) for value in values)
        digest = None
        for value in sorted(map(key_bytes, values)):
            digest = XXHash64(digest or 0)(value)
        return digest


@dataclass(frozen=True, slots=True)
class Cookie:
    """XXH64 of the value of a cookie, without enclosing double quotes; an empty one has no hash.

    If the name occurs several times, the first value is used.  A policy with ``ttl``, with which
    Envoy sets the cookie, is not covered.
    """

    name: str
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the request has no such cookie."""
        for line in request.header("cookie"):
            for pair in line.split(";"):
                name, equals, value = pair.partition("=")
                if equals and name.lstrip(" ") == self.name:
                    if len(value) > 1 and value[0] == value[-1] == '"':
                        value = value[1:-1]
                    return XXHash64()(key_bytes(value)) if value else None
        return None


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """XXH64 of the first value of a query parameter; ``%`` and ``+`` are not decoded."""

    name: str
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the request has no such parameter."""
        for pair in request.target.partition("?")[2].split("&"):
            name, _, value = pair.partition("=")
            if name == self.name and pair:
                return XXHash64()(key_bytes(value))
        return None


@dataclass(frozen=True, slots=True)
class SourceIP:
    """XXH64 of the client's address as text, without port; IPv6 is compressed and in lower case."""

    terminal: bool = False

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the client has no IP address."""
        try:
            address = address_of(request.client)
        except InvalidKey:
            return None
        text = str(address)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            text = f"::ffff:{address.ipv4_mapped}"
        return XXHash64()(text.encode())


HashPolicy = Header | Cookie | QueryParameter | SourceIP
"""One entry of ``hash_policy``."""


def request_hash(policies: Iterable[HashPolicy], request: Request) -> int | None:
    """Return the 64-bit hash that Envoy 1.40.0 looks up, or None if no policy has one.

    The hashes of several policies are combined: the hash so far is rotated left by one bit, and the
    next one is XORed.  A ``terminal`` policy is the last one if there is a hash by then.  Without a
    hash, Envoy looks up a random number of 64 bits.

    >>> request = Request(target="/?id=7", headers=[("X-User", "42"), ("Cookie", "a=1")])
    >>> hex(request_hash([Header("x-user")], request))
    '0x6de6f5d076d742b9'
    >>> policies = [Header("x-none"), Cookie("a", terminal=True), Header("x-user")]
    >>> request_hash(policies, request) == request_hash([Cookie("a")], request)
    True

    Raises InvalidKey for a value with a lone surrogate, InvalidSetting for an object that is no
    policy, ImportError without ``balancers[xxhash]``.
    """
    if isinstance(policies, HashPolicy):
        raise InvalidSetting(f"policies must be an iterable of policies, not {policies!r}")
    digest: int | None = None
    for policy in policies:
        if not isinstance(policy, HashPolicy):
            raise InvalidSetting(f"policies must contain hash policies only, not {policy!r}")
        found = policy.hash(request)
        if found is not None:
            mixed = 0 if digest is None else (digest << 1 & BITS) | digest >> 63
            digest = mixed ^ found
        if policy.terminal and digest is not None:
            break
    return digest


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InvalidSetting(f"name must be a str, not {name!r}")
