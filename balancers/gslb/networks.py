"""Finds what belongs to the network of a client: the longest prefix wins."""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Generic, NamedTuple, cast

from balancers._internal.checks import checked_callable, shown
from balancers._internal.types import T
from balancers.addresses import Address
from balancers.errors import InvalidSetting
from balancers.gslb._prefixes import (
    BITS,
    EMBEDDED,
    Prefix,
    contained,
    located,
    network_of,
    prefix_of,
)
from balancers.gslb._space import Space, overlaid, ranges

__all__ = ["Found", "NetworkTable", "narrowest", "scope_of"]

_HOLE = -1
"""The owner of the IPv6 addresses that are looked up as IPv4."""


class Found(NamedTuple, Generic[T]):
    """Describes what a :class:`NetworkTable` contains for an address.

    >>> found = NetworkTable({"10.0.0.0/8": "office"}).find("10.1.2.3")
    >>> found.value, found.network, found.scope
    ('office', IPv4Network('10.0.0.0/8'), 8)
    """

    value: T | None
    """The value of the longest prefix that contains the address.  None if no prefix does."""
    scope: int
    """The length of the prefix of the largest network around the address in which every address
    has the same value.  It is counted in the address that was passed: of an IPv6 address that
    contains an IPv4 address, the bits before the IPv4 address are counted too."""
    prefix: tuple[int, int, int] | None
    """The longest prefix that contains the address as numbers: the version of IP, the first address
    and the length.  None if no prefix contains the address."""

    @property
    def network(self) -> IPv4Network | IPv6Network | None:
        """The longest prefix that contains the address.  None if no prefix does."""
        return None if self.prefix is None else network_of(self.prefix)


class NetworkTable(Generic[T]):
    """Maps networks to values, and finds the value of the longest prefix over an address.

    ``entries`` is a mapping of networks to values, or an iterable of pairs, for example of the
    networks and places of a place database.  A network is a text or an object of :mod:`ipaddress`;
    an address counts as the network of this one address.  ``0.0.0.0/0`` contains every IPv4 address
    and no IPv6 address, and ``::/0`` the reverse.  The value None is that of addresses in no
    network.  So a network with None is an exception from a shorter prefix.

    >>> table = NetworkTable({"11.1.0.0/16": "us", "11.1.7.0/24": "de", "2001:db8::/32": "sg"})
    >>> [table.get(address) for address in ("11.1.0.1", "11.1.7.1", "2001:db8::1", "192.0.2.1")]
    ['us', 'de', 'sg', None]

    :meth:`find` also returns the scope: the network for which a DNS server may announce the
    answer.  Neighbours with equal values (``==``) are merged for it, and a network that contains a
    longer prefix with another value is split.  Arrays are equal only if they are one object.

    >>> table.find("11.1.0.1").scope, table.find("11.1.7.1").scope  # 11.1.0.0/22 ends before 11.1.4
    (22, 24)

    Some IPv6 addresses contain an IPv4 address.  They are looked up by it, and the scope is counted
    from their own prefix: ``::ffff:0:0/96`` (mapped), ``::ffff:0:0:0/96`` (translated),
    ``64:ff9b::/96`` (NAT64), ``2001::/32`` (Teredo, with the inverted address) and ``2002::/16``
    (6to4).  In ``entries``, a mapped network is read as IPv4, and the others are refused.

    >>> table.get("64:ff9b::11.1.7.1"), table.find("2002:b01:701::").scope  # 16 + 24
    ('de', 40)

    The table does not change.  To change entries, make a new one.  The constructor is
    O(n log n); a lookup is O(log n), whether it is for the value or for the scope.

    Raises InvalidSetting for a malformed network, for one with bits set beyond its prefix, and for
    a network that occurs twice.  Raises TypeError if ``entries`` is neither a mapping nor an
    iterable of pairs.
    """

    __slots__ = ("_prefixes", "_spaces", "_values")

    _values: list[T | None]
    _prefixes: list[Prefix | None]
    _spaces: dict[int, Space]

    def __init__(
        self,
        entries: Mapping[Any, T] | Iterable[tuple[str | IPv4Network | IPv6Network, T]] = (),
    ) -> None:
        values: list[T | None] = [None]
        prefixes: list[Prefix | None] = [None]
        networks: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
        for owner, (network, value) in enumerate(_pairs(entries), 1):
            version, first, length = prefix = prefix_of(network)
            networks[version].append((first, length, owner))
            values.append(cast("T", value))
            prefixes.append(prefix)
        for version, some in networks.items():
            some.sort()
            for at in range(1, len(some)):
                if some[at][:2] == some[at - 1][:2]:
                    raise InvalidSetting(f"{network_of((version, *some[at][:2]))} occurs twice")
        holes = [(first, length, _HOLE) for first, length in EMBEDDED]
        self._compile(
            values,
            prefixes,
            {4: ranges(32, networks[4]), 6: ranges(128, sorted(networks[6] + holes))},
        )

    @classmethod
    def combined(
        cls, function: Callable[..., T | None], *tables: "NetworkTable[Any]"
    ) -> "NetworkTable[T]":
        """Return the table of a function of the values of one or more other tables.

        The function is called with one value per table, None for a table without a value, once for
        each combination of networks.  The scopes are exact for the results: networks with different
        values and equal results are merged.

        >>> places = NetworkTable({"12.2.0.0/16": "Paris", "12.3.0.0/16": "London"})
        >>> own = NetworkTable({"12.2.9.0/24": "office"})
        >>> region = {"Paris": "eu", "London": "eu", None: "us"}.get
        >>> answers = NetworkTable.combined(lambda net, place: net or region(place), own, places)
        >>> answers.get("12.3.7.1"), answers.get("12.2.9.1"), answers.get("192.0.2.1")
        ('eu', 'office', 'us')
        >>> answers.find("12.3.7.1").scope, answers.find("12.2.9.1").scope
        (16, 24)

        The :attr:`~Found.network` of a result is the longest of the prefixes of all tables.  The
        cost is O(n log n) for n networks in all tables, and the calls of the function.

        Raises TypeError for arguments of other types, and without a table.
        """
        checked_callable("function", function)
        for table in tables or (None,):
            if not isinstance(table, NetworkTable):
                raise TypeError(f"tables must be objects of NetworkTable, not {shown(table)}")
        values: list[T | None] = []
        prefixes: list[Prefix | None] = []
        known: dict[tuple[int, ...], int] = {}

        def owner_of(owners: tuple[int, ...]) -> int:
            if owners[0] == _HOLE:
                return _HOLE
            if owners not in known:
                pairs = [*zip(tables, owners, strict=True)]
                value = function(*(table._values[owner] for table, owner in pairs))  # noqa: SLF001 - own class
                found = (table._prefixes[owner] for table, owner in pairs)  # noqa: SLF001 - own class
                known[owners] = len(values)
                values.append(value)
                prefixes.append(max(filter(None, found), default=None))  # the longest
            return known[owners]

        parts = {
            version: overlaid([table._spaces[version] for table in tables], owner_of)  # noqa: SLF001 - own class
            for version in BITS
        }
        result: NetworkTable[T] = cls()
        result._compile(values, prefixes, parts)
        return result

    def get(self, address: object, default: T | None = None) -> T | None:
        """Return the value of the longest prefix that contains the address, else the default.

        ``address`` is an object of :mod:`ipaddress`, a text, or 4 or 16 packed bytes.  O(log n).

        Raises InvalidKey for a value that is not an address.
        """
        version, number, _ = located(address)
        value = self._values[self._spaces[version].owner(number)]
        return default if value is None else value

    def find(self, address: object) -> Found[T]:
        """Return the value of the longest prefix that contains the address, and its scope.

        ``address`` is an object of :mod:`ipaddress`, a text, or 4 or 16 packed bytes.  O(log n).

        Raises InvalidKey for a value that is not an address.
        """
        version, number, before = located(address)
        owner, scope = self._spaces[version].find(number)
        return Found(self._values[owner], before + scope, self._prefixes[owner])

    def __len__(self) -> int:
        """Return the number of networks, of a combined table the number of its combinations."""
        return len(self._prefixes) - self._prefixes.count(None)

    def __repr__(self) -> str:
        return f"<NetworkTable: {len(self)}>"

    def _compile(
        self,
        values: list[T | None],
        prefixes: list[Prefix | None],
        parts: dict[int, tuple[list[int], list[int]]],
    ) -> None:
        """Store the ranges of both versions of IP, and find the runs of equal values."""
        self._values, self._prefixes = values, prefixes
        ipv4 = Space(32, *parts[4], values.__getitem__)
        elsewhere = values[ipv4.owners[0]] if ipv4.uniform else object()
        ipv6 = Space(128, *parts[6], lambda at: elsewhere if at == _HOLE else values[at])
        self._spaces = {4: ipv4, 6: ipv6}


def narrowest(*scopes: int) -> int:
    """Return the scope of an answer that depends on several lookups of one address.

    Each lookup gives the same value within its scope, so the answer is the same within the
    narrowest network, which has the longest prefix.  Without lookups, the answer is the same for
    every client, and the scope is 0.  The scope may be longer than it must be, if other values
    would give the same answer; :meth:`NetworkTable.combined` finds the shortest.

    >>> narrowest(16, 24, 8), narrowest()
    (24, 0)
    """
    return max(scopes, default=0)


def _pairs(entries: object) -> Iterable[tuple[object, object]]:
    """Yield the networks and their values.  Raise TypeError for anything but pairs."""
    wanted = "entries must be a mapping of networks or an iterable of pairs"
    if isinstance(entries, Mapping):
        yield from cast("Mapping[object, object]", entries).items()
        return
    given: Any = entries
    if isinstance(given, str | bytes | IPv4Network | IPv6Network) or not hasattr(given, "__iter__"):
        raise TypeError(f"{wanted}, not {shown(entries)}")
    for pair in given:
        if isinstance(pair, str | bytes | IPv4Network | IPv6Network):
            raise TypeError(f"{wanted}, not of {shown(pair)}")
        try:
            network, value = pair
        except (TypeError, ValueError) as error:
            raise TypeError(f"{wanted}, not of {shown(pair)}") from error
        yield network, value


_IPV4 = NetworkTable({"0.0.0.0/0": True})


def scope_of(address: Address, lengths: Mapping[int, int]) -> int:
    """Return the scope of a value that all addresses with the same first bits have.

    ``lengths`` are the numbers of these bits by the version of IP.  The scope of an IPv6 address
    never covers addresses that are looked up as IPv4.

    >>> from ipaddress import ip_address
    >>> [scope_of(ip_address(text), {4: 24, 6: 48}) for text in ("2001:db8::", "64:ff9b:0:1::")]
    [48, 64]
    """
    inside, before = contained(address)
    return narrowest(before + lengths[inside.version], _IPV4.find(address).scope)
