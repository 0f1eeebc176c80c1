"""Cases of HAProxy: a ``backend`` section of one thread, its runtime commands, requests held."""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from balancers import Balancer, Key
from balancers.interop import haproxy
from balancers.interop.haproxy import Consistent, Hash, MapBased, Server
from tests.parity.words import only

__all__ = ["BackendSection", "replay"]

SEQUENCES: dict[str, Callable[..., Balancer[str]]] = {
    "roundrobin": haproxy.RoundRobin,
    "static-rr": haproxy.StaticRR,
    "leastconn": haproxy.LeastConn,
    "first": haproxy.First,
}
FUNCTIONS: dict[str, Callable[[bytes], int]] = {
    "sdbm": haproxy.sdbm,
    "djb2": haproxy.djb2,
    "wt6": haproxy.wt6,
    "crc32": haproxy.crc32,
}
METHODS: dict[str, Callable[..., Balancer[str]]] = {"consistent": Consistent, "map-based": MapBased}
BALANCE = re.compile(
    r"roundrobin|static-rr|leastconn|first|source|uri( len \d+| depth \d+| whole| path-only)*"
    r"|url_param \S+|hash req\.hdr\(X-Key\)|hdr\((X-Key|host)\)( use_domain_only)?"
)
HASH_TYPE = re.compile(r"(consistent|map-based)( (sdbm|djb2|wt6|crc32)( avalanche)?)?")
DIRECTIVE = re.compile(r"option allbackups|hash-balance-factor \d+")
CHANCE = re.compile(r"random(\(\d+\))?")
"""What chance picks."""
COOKIES = re.compile(r"cookie \S+ .*|dynamic-cookie-key \S+")
"""Directives of persistence, which no preset covers."""
SERVER = ("name", "weight", "id", "maxconn", "backup", "disabled", "port", "cookie")


class BackendSection:
    """A section as a case tells it: the balancer, and what it hashes of a request."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.weights: dict[str, int] = {told["name"]: told["weight"] for told in config["servers"]}
        self.down = {told["name"] for told in config["servers"] if told.get("disabled")}
        directives: list[str] = config.get("directives", [])
        settings: dict[str, Any] = {"allbackups": "option allbackups" in directives}
        self.policy, *words = config["balance"].split()
        servers = [Server(**_known(told)) for told in config["servers"]]
        if self.policy in SEQUENCES:
            self.farm: Balancer[str] = SEQUENCES[self.policy](servers, **settings)
            self.key: Callable[[Any], Key | None] = _no_key
            return
        self.key = self._key(words)
        for directive in directives:
            if directive.startswith("hash-balance-factor "):
                settings["balance_factor"] = int(directive.split()[1])
        method, *told = config["hash_type"].split()
        settings["hasher"] = self._hash(method, told)
        self.farm = METHODS[method](servers, **settings)

    def _hash(self, method: str, told: list[str]) -> Hash:
        spread = "avalanche" in told if told else method == "consistent"
        if self.policy == "source":
            return Hash(haproxy.address_words, avalanche=spread)
        return Hash(FUNCTIONS[told[0]] if told else haproxy.sdbm, avalanche=spread)

    def _key(self, words: list[str]) -> Callable[[Any], Key | None]:
        """Give what makes a key of a request: its line of a header, its lines, target or client."""
        match self.policy:
            case "source":
                return haproxy.source
            case "uri":
                sizes = dict(pairwise(words))
                length, depth = int(sizes.get("len", 0)), int(sizes.get("depth", 0))
                whole, path_only = "whole" in words, "path-only" in words
                return lambda target: haproxy.uri(target, length, depth, whole, path_only)
            case "url_param":
                return lambda target: haproxy.url_param(target, words[0])
            case "hash":
                return lambda told: haproxy.req_hdr(*_lines(told))
            case "hdr(X-Key)" | "hdr(host)":
                domain = "use_domain_only" in words
                return lambda told: haproxy.hdr(*_lines(told), domain_only=domain)
            case _:
                raise LookupError(f"no such policy: {self.policy!r}")

    def command(self, told: str) -> None:
        """Obey a command of the runtime API."""
        what, name, *rest = told.split()
        if what not in {"weight", "enable", "disable"}:
            raise LookupError(f"no such command: {told!r}")
        if rest:
            self.weights[name] = int(rest[0])
        else:
            (self.down.add if what == "disable" else self.down.discard)(name)
        self.farm.put(name, 0 if name in self.down else self.weights[name])


def _no_key(_: object) -> None:
    """Give the key of a request where none is read."""


def _known(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in {"port", "cookie"}}


def _lines(told: str | list[str] | None) -> list[str]:
    return [] if told is None else [told] if isinstance(told, str) else told


def _covered(case: dict[str, Any]) -> bool:
    """Say whether a preset covers a case; raise LookupError for a word that is not known."""
    config = case["config"]
    only(("balance", "hash_type", "servers", "directives"), config, "HAProxy")
    for told in config["servers"]:
        only(SERVER, told, "a server of HAProxy")
    directives: list[str] = config.get("directives", [])
    persistent = [each for each in directives if COOKIES.fullmatch(each)]
    only(persistent, [each for each in directives if not DIRECTIVE.fullmatch(each)], "a section")
    balance: str = config["balance"]
    by_chance = CHANCE.fullmatch(balance)
    named = f"{balance} ".startswith(f"{case['policy']} ")
    if not named or not (by_chance or BALANCE.fullmatch(balance)):
        raise LookupError(f"no such policy: {case['policy']!r}, balance {balance!r}")
    hash_type: str | None = config.get("hash_type")
    if hash_type is not None and not HASH_TYPE.fullmatch(hash_type):
        raise LookupError(f"no such hash-type: {hash_type!r}")
    return not (by_chance or persistent)


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Give the picks as names; None where chance picks, or a cookie."""
    if not _covered(case):
        return None
    section = BackendSection(case["config"])
    farm, picks, held = section.farm, list[Any](), dict[Any, str]()
    keys: list[Any] = case["keys"] if "keys" in case else [None] * case.get("n", 0)
    operations: list[list[Any]] = case.get("ops") or [["req", key] for key in keys]
    for what, *told in operations:
        if what == "cmd":
            section.command(told[0])
        elif what == "close":
            farm.finished(held.pop(told[0]))
        else:
            name = farm.pick(section.key(told[-1]))
            farm.started(name)
            picks.append(name)
            if what == "open":
                held[told[0]] = name
            else:
                farm.finished(name)
    return [picks]
