"""The resources of gdnsd as regions and policies, and the exact probabilities of their answers.

A resource is a ``Region`` (``multifo``), a ``Weighted`` policy (``weighted``) or a list of other
resources (``simplefo``, ``metafo`` and ``geoip``), which ``Failover`` answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address
from random import Random
from typing import Any, cast

from balancers.gslb import Failover, NetworkTable, Place, Region, Weighted
from tests.parity.bounds import Answer, joined
from tests.parity.gdnsd_config import Resource, number, resources, several, yes
from tests.parity.gdnsd_maps import GeoMap, NotHeld

__all__ = [
    "Datacenters",
    "Draw",
    "Leaf",
    "Listed",
    "Node",
    "Resources",
    "Tree",
    "address_text",
    "leaves",
]

_MOST = 12
"""The greatest number of independent items: more have too many possible answers to list."""
Odds = dict[Answer, Fraction]


@dataclass
class Leaf:
    """Addresses that are answered together.  The members are pairs of a label and an address."""

    part: Region
    always: bool | None = None
    """Whether all addresses are up, or all are down; None if the recording says which."""

    def odds(self, now: float, everything: bool) -> Odds:
        """Return the one answer with probability 1."""
        members = self.part.members if everything else self.part.up_members(now)
        return {frozenset(address for _, address in members): Fraction(1)}


@dataclass
class Draw:
    """A weighted choice of items; with ``multi`` each one is included independently."""

    part: Weighted
    items: Sequence["Leaf | Draw"]
    multi: bool

    def odds(self, now: float, everything: bool) -> Odds:
        """Return the probability of each answer, by the documented rule of gdnsd."""
        weights = [
            Fraction(item.part.total if everything else item.part.share(now)) for item in self.items
        ]
        base = max(weights) if self.multi else sum(weights)
        if self.multi and sum(0 < weight < base for weight in weights) > _MOST:
            raise NotHeld(f"more than 2 to the power of {_MOST} answers are possible")
        parts = [
            {answer: odd * weight / base for answer, odd in item.odds(now, everything).items()}
            for item, weight in zip(self.items, weights, strict=True)
            if weight
        ]
        if self.multi:
            absent = frozenset[str]()
            return joined([{absent: 1 - sum(part.values(), Fraction(0)), **part} for part in parts])
        found: Odds = {}
        for part in parts:
            for answer, odd in part.items():
                found[answer] = found.get(answer, Fraction(0)) + odd
        return found


@dataclass
class Listed:
    """Parts in order, of which the first healthy one is answered, else the first."""

    part: Failover
    items: Sequence["Node"]

    def odds(self, now: float, everything: bool) -> Odds:
        """Return the probabilities of the part that is answered; nothing is answered without."""
        if not self.items:
            return {frozenset(): Fraction(1)}
        if not everything:
            for item in self.items:
                if item.part.healthy(now):
                    return item.odds(now, False)
        return self.items[0].odds(now, True)


@dataclass
class Datacenters:
    """A resource of ``metafo`` or ``geoip``, before the order for a client is known."""

    items: Mapping[str, "Leaf | Draw | Listed | Datacenters"]
    order: Sequence[str]
    map: GeoMap | None
    skips_first: bool


Node = Leaf | Draw | Listed
Tree = Node | Datacenters


def leaves(tree: Tree) -> Iterator[Leaf]:
    """Yield all leaves of a resource."""
    if isinstance(tree, Leaf):
        yield tree
    else:
        items = tree.items.values() if isinstance(tree, Datacenters) else tree.items
        for item in items:
            yield from leaves(item)


class Resources:
    """All resources of a configuration, by name."""

    def __init__(self, config: Mapping[str, Any], places: NetworkTable[Place]) -> None:
        self._plugins: Mapping[str, Any] = config.get("plugins", {})
        self._named = resources(self._plugins)
        self._places = places
        self._maps: dict[str, GeoMap] = {}
        self._rng = Random(0)

    def plugin_of(self, name: str) -> str | None:
        """Return the plugin of a resource; None if the configuration has no such resource."""
        resource = self._find(name)
        return resource and resource.plugin

    def tree(self, name: str, family: int) -> Tree:
        """Return a resource; ``family`` is the version of IP that the question asks for."""
        resource = self._find(name)
        if resource is None:
            raise NotHeld("the zone file, which defines this name, is not recorded")
        tree = self._tree(resource, name, family)
        _, slash, datacenter = name.partition("/")
        if slash:
            if not isinstance(tree, Datacenters) or datacenter not in tree.items:
                raise LookupError(f"no such datacenter: {name!r}")
            return tree.items[datacenter]
        return tree

    def _find(self, name: str) -> Resource | None:
        plugin, _, rest = name.rpartition("!")
        wanted = rest.partition("/")[0]
        found = [
            resource
            for (owner, called), resource in self._named.items()
            if called == wanted and owner == (plugin or owner)
        ]
        if len(found) > 1:
            raise NotHeld("several plugins have a resource of this name")
        return found[0] if found else None

    def _tree(self, resource: Resource, name: str, family: int) -> Tree:
        plugin, settings = resource.plugin, resource.settings
        if plugin in {"metafo", "geoip"}:
            return self._datacenters(resource, name, family)
        settings = _of_family(settings, family)
        if plugin == "multifo":
            return _leaf(name, settings)
        if plugin == "simplefo":
            parts = [
                _leaf(f"{name} {which}", {**_services(settings), which: settings[which]})
                for which in ("primary", "secondary")
            ]
            return Listed(Failover([leaf.part for leaf in parts]), parts)
        if plugin == "weighted":
            return self._draw(name, settings)
        raise NotHeld(f"the plugin {plugin!r}")

    def _draw(self, name: str, settings: Mapping[str, Any]) -> Draw:
        multi = yes(settings.get("multi", "false"))
        shared = {"multi", "up_thresh", "service_types"}
        items: list[Leaf | Draw] = []
        for label, value in settings.items():
            if label in shared:
                continue
            if isinstance(value, Mapping):
                group = {**_services(settings), **cast("Mapping[str, Any]", value)}
                inner = {**group, "multi": "false" if multi else "true", "up_thresh": "0"}
                items.append(self._draw(f"{name}/{label}", inner))
            else:
                address, weight = value
                whole = f"{name}/{label}"
                region = Region(whole, {(whole, address_text(address)): number(weight)})
                items.append(Leaf(region, _always(settings)))
        threshold = number(settings.get("up_thresh", "0.5"))
        parts = [item.part for item in items]
        drawn = Weighted(parts, rng=self._rng, multi=multi, up_thresh=threshold, name=name)
        return Draw(drawn, items, multi)

    def _datacenters(self, resource: Resource, name: str, family: int) -> Datacenters:
        settings = resource.settings
        own = {"datacenters", "dcmap", "map", "skip_first"}
        shared = {key: value for key, value in settings.items() if key not in own}
        items = {
            datacenter: self._datacenter(value, shared, f"{name}/{datacenter}", family)
            for datacenter, value in settings["dcmap"].items()
        }
        geo_map = self._map(settings["map"]) if resource.plugin == "geoip" else None
        order = several(settings["datacenters"]) if geo_map is None else []
        return Datacenters(items, order, geo_map, yes(settings.get("skip_first", "false")))

    def _datacenter(self, value: Any, shared: Mapping[str, Any], name: str, family: int) -> Tree:
        default = str(shared.get("plugin", "multifo"))
        if isinstance(value, str) and "!" in value:
            plugin, _, called = value.removeprefix("%").rpartition("!")
            return self._tree(self._named[plugin or default, called], name, family)
        rest = {key: each for key, each in shared.items() if key != "plugin"}
        if isinstance(value, Mapping):
            given = dict(cast("Mapping[str, Any]", value))
            plugin = str(given.pop("plugin", default))
            return self._tree(Resource(plugin, name, {**rest, **given}), name, family)
        addresses = {str(at): each for at, each in enumerate(several(value), 1)}
        return self._tree(Resource("multifo", name, {**rest, **addresses}), name, family)

    def _map(self, name: str) -> GeoMap:
        if name not in self._maps:
            self._maps[name] = GeoMap(self._plugins["geoip"]["maps"][name], self._places)
        return self._maps[name]


def _of_family(settings: Mapping[str, Any], family: int) -> Mapping[str, Any]:
    """Return the settings for the addresses of one version of IP."""
    sections = {"addrs_v4": 4, "addrs_v6": 6}
    present = [section for section in sections if section in settings]
    if not present:
        return settings
    chosen = next((each for each in present if sections[each] == family), present[0])
    rest = {key: value for key, value in settings.items() if key not in sections}
    value = settings[chosen]
    if isinstance(value, Mapping):
        return {**rest, **cast("Mapping[str, Any]", value)}
    return {**rest, **{str(at): each for at, each in enumerate(several(value), 1)}}


def _services(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in ("service_types",) if key in settings}


def _always(settings: Mapping[str, Any]) -> bool | None:
    """Return the state that the service types ``up`` and ``down`` give to every address."""
    services = set(several(settings.get("service_types", "default")))
    if "down" in services:
        return False
    return True if services == {"up"} or yes(settings.get("ignore_health", "false")) else None


def _leaf(name: str, settings: Mapping[str, Any]) -> Leaf:
    known = {"service_types", "up_thresh", "ignore_health"}
    members = [
        (label, address_text(value)) for label, value in settings.items() if label not in known
    ]
    region = Region(name, members, up_thresh=number(settings.get("up_thresh", "0.5")))
    names = any(not _is_address(text) for _, text in members)
    return Leaf(region, True if names else _always(settings))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def address_text(text: str) -> str:
    """Return an address in its usual form, and another text, a name of a CNAME record, as it is."""
    return str(ip_address(text)) if _is_address(text) else text
