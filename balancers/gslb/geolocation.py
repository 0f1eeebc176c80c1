"""Implements geolocation: regions by the network, city, subdivision, country or continent."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import repeat
from typing import Any, NamedTuple, cast, overload

from balancers._internal.checks import check_flags, shown
from balancers.errors import InvalidSetting
from balancers.gslb._policy import Policy, checked_parts
from balancers.gslb._prefixes import Prefix
from balancers.gslb.client import Client
from balancers.gslb.distance import checked_places
from balancers.gslb.networks import NetworkTable, narrowest
from balancers.gslb.place import Place
from balancers.gslb.ranking import Part, Ranking

__all__ = ["Geolocation"]

_DEFAULT = "default"
_IPV4 = 4


class _Node(NamedTuple):
    """One level of the mapping, with the parts for clients that no deeper level matches."""

    parts: tuple[Part, ...]
    facts: tuple[Any, ...]
    children: Mapping[str, "_Node"]


class _Order(NamedTuple):
    """The parts of a network, in order and as a set."""

    parts: tuple[Part, ...]
    known: frozenset[Part]
    is_last: bool
    """Whether no wider level can add a part."""


class _NetworkFacts(Sequence[tuple[Prefix, int, int]]):
    """The facts of the list of a network.  They are made when they are read."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, prefix: Prefix, count: int) -> None:
        self._prefix = prefix
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Prefix, int, int]]:
        count = self._count
        return zip(repeat(self._prefix, count), range(1, count + 1), repeat(count))

    @overload
    def __getitem__(self, at: int) -> tuple[Prefix, int, int]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[tuple[Prefix, int, int]]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return tuple(self)[at]
        return self._prefix, range(1, self._count + 1)[at], self._count


class Geolocation(Policy):
    """Ranks the regions that are listed for the place of the client.

    ``by_place`` is a mapping of codes.  Each value is a part, a list of parts in order, or a
    mapping of the codes of deeper levels.  The levels are continent, country, subdivision and city.
    At each level, the code of the client is looked up; a level that the mapping does not contain
    is skipped, so ``{"AS": {"Osaka": ...}}`` is possible.  But ``{"DE": ...}`` matches Delaware
    too; write Germany below its continent.  The key ``default`` is for clients that no other key
    matches.  Upper and lower case are equal.

    >>> from balancers.gslb import Client, Place, Region
    >>> us, de, sg = (Region(name, [name]) for name in ("us", "de", "sg"))
    >>> policy = Geolocation({
    ...     "NA": {"US": {"TX": [sg, us], "default": [us, de]}, "default": us},
    ...     "EU": [de],
    ...     "default": [us, de, sg],
    ... }, networks={"10.0.0.0/8": de})
    >>> texas = Client("192.0.2.1", place=Place("NA", "US", "TX", "Dallas"))
    >>> for ranked in policy.rank(texas, now=0.0):
    ...     print(ranked.part.name, "-", ranked.reason)
    sg - TX, number 1 of 2
    us - TX, number 2 of 2
    de - US, number 2 of 2
    >>> policy.answer(Client("10.1.2.3", place=Place("AS", "JP")), now=0.0).reason
    'network 10.0.0.0/8'

    ``networks`` is a mapping of networks to parts or lists, or a :class:`NetworkTable` of them.
    The longest prefix that contains the client's address wins over its place.

    With ``widen``, the lists of the wider levels follow, up to the default, as in Route 53.
    Without it, only the most specific list is used, as in gdnsd: if all its regions are down, the
    first of them is answered.  An empty list means that these clients get no answer.  A client
    that no entry matches gets none either if there is no default.

    ``places`` is a database of places for clients without a place; see :meth:`Client.place_in`.

    A ranking is O(length of the lists), and O(log n) for n networks.  Raises InvalidSetting for a
    malformed network, one that occurs twice, and two codes that are equal but for upper and lower
    case.  Raises TypeError for values of other types.
    """

    def __init__(
        self,
        by_place: Mapping[str, Any],
        *,
        networks: Any = None,
        places: Any = None,
        widen: bool = True,
        name: str | None = None,
    ) -> None:
        check_flags(widen=widen)
        if not isinstance(cast("object", by_place), Mapping):
            raise TypeError(f"by_place must be a mapping of codes, not {shown(by_place)}")
        self._root = _compiled(by_place, "default", _Node((), (), {}), widen)
        self._widen = widen
        self._places = checked_places(places)
        found = dict.fromkeys(_parts_of(self._root))
        self._networks = None if networks is None else _compiled_networks(networks, found, widen)
        super().__init__(found, name)

    def rank(self, client: Client, now: float) -> Ranking:
        address = client.lookup
        if self._networks is not None and address is not None:
            order, _, prefix = self._networks.find(address)
            if order is not None and prefix is not None:
                parts = order.parts
                facts: Sequence[Any] = _NetworkFacts(prefix, len(parts))
                if not order.is_last:
                    wider = self._node_of(client.place_in(self._places))
                    parts, facts = _joined(parts, order.known, facts, wider)
                return self._ranking(client, now, parts, facts, _reason)
        node = self._node_of(client.place_in(self._places))
        return self._ranking(client, now, node.parts, node.facts, _reason)

    def scope(self, client: Client) -> int:
        scopes = [super().scope(client)]
        if self._networks is not None and client.lookup is not None:
            found = self._networks.find(client.lookup)
            scopes.append(found.scope)
            if found.value is not None and found.value.is_last:
                return narrowest(*scopes)
        return narrowest(*scopes, client.place_scope(self._places))

    def _node_of(self, place: Place | None) -> _Node:
        """Return the node of the most specific level that matches a place."""
        node = self._root
        if place is None:
            return node
        for code in (place.continent, place.country, place.subdivision, place.city):
            if code is not None:
                node = node.children.get(code.casefold(), node)
        return node


def _compiled(choice: object, label: str, wider: _Node, widen: bool) -> _Node:
    """Return the node of a choice.  Raises TypeError, InvalidSetting."""
    if not isinstance(choice, Mapping):
        parts = _listed(choice)
        facts = tuple((label, at, len(parts)) for at in range(1, len(parts) + 1))
        node = _Node(parts, facts, {})
        return _Node(*_joined(parts, parts, facts, wider), {}) if widen and parts else node
    entries: dict[str, tuple[str, object]] = {}
    for code, deeper in cast("Mapping[object, object]", choice).items():
        if not isinstance(code, str):
            raise TypeError(f"a code must be a text, not {shown(code)}")
        if code.casefold() in entries:
            raise InvalidSetting(f"{shown(code)} is there twice, in upper and in lower case")
        entries[code.casefold()] = code, deeper
    node = wider
    if _DEFAULT in entries:
        node = _compiled(entries.pop(_DEFAULT)[1], label, wider, widen)
    children = {
        folded: _compiled(deeper, code, node, widen) for folded, (code, deeper) in entries.items()
    }
    return _Node(node.parts, node.facts, children)


def _listed(choice: object) -> tuple[Part, ...]:
    return (choice,) if isinstance(choice, Part) else checked_parts(cast("Iterable[Part]", choice))


def _joined(
    parts: tuple[Part, ...], known: Container[Part], facts: Sequence[Any], wider: _Node
) -> tuple[tuple[Part, ...], tuple[Any, ...]]:
    """Return the parts, and then the parts of the wider level that are not known, with facts."""
    added = [pair for pair in zip(*wider[:2], strict=True) if pair[0] not in known]
    return (*parts, *(part for part, _ in added)), (*facts, *(fact for _, fact in added))


def _parts_of(node: _Node) -> Iterator[Part]:
    yield from node.parts
    for child in node.children.values():
        yield from _parts_of(child)


def _compiled_networks(networks: Any, found: dict[Part, None], widen: bool) -> NetworkTable[_Order]:
    """Return the table of the orders of all networks, and add their parts to those found."""
    known_as: NetworkTable[Any] = (
        cast("Any", networks) if isinstance(networks, NetworkTable) else NetworkTable(networks)
    )
    by_place = frozenset(found)
    orders: dict[tuple[object, ...], _Order] = {}

    def order_of(choice: object) -> _Order | None:
        if choice is None:
            return None
        if type(choice) in {list, tuple}:
            order = orders.get(tuple(cast("list[object]", choice)))
            if order is not None:
                return order
        parts = _listed(choice)
        if parts not in orders:
            known = frozenset(parts)
            orders[parts] = _Order(
                parts,
                known,
                not (widen and parts) or known >= by_place,
            )
            found.update(dict.fromkeys(parts))
        return orders[parts]

    return NetworkTable.combined(order_of, known_as)


def _reason(fact: tuple[str | Prefix, int, int]) -> str:
    where, at, count = fact
    label = where if isinstance(where, str) else _label(where)
    return label if count == 1 else f"{label}, number {at} of {count}"


@lru_cache(maxsize=1024)
def _label(prefix: Prefix) -> str:
    version, first, length = prefix
    return f"network {IPv4Address(first) if version == _IPV4 else IPv6Address(first)}/{length}"
