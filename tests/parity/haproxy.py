"""Cases of HAProxy: a ``backend`` section with one thread, runtime commands and requests."""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from balancers import Balancer, Key
from balancers.interop import haproxy
from balancers.interop.haproxy import Consistent, Hash, MapBased, Server
from tests.parity.names import check_names

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
RANDOM_POLICY = re.compile(r"random(\(\d+\))?")
"""Policies whose picks are random."""
COOKIE_DIRECTIVE = re.compile(r"cookie \S+ .*|dynamic-cookie-key \S+")
"""Directives of cookie persistence, which no preset covers."""
SERVER_FIELDS = ("name", "weight", "id", "maxconn", "backup", "disabled", "port", "cookie")


class BackendSection:
    """The section of a case: its balancer, and the function from a request to its key."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.weights: dict[str, int] = {line["name"]: line["weight"] for line in config["servers"]}
        self.down = {line["name"] for line in config["servers"] if line.get("disabled")}
        directives: list[str] = config.get("directives", [])
        settings: dict[str, Any] = {"allbackups": "option allbackups" in directives}
        self.policy, *words = config["balance"].split()
        servers = [Server(**_settings(line)) for line in config["servers"]]
        if self.policy in SEQUENCES:
            self.farm: Balancer[str] = SEQUENCES[self.policy](servers, **settings)
            self.key: Callable[[Any], Key | None] = _no_key
            return
        self.key = self._key(words)
        for directive in directives:
            if directive.startswith("hash-balance-factor "):
                settings["balance_factor"] = int(directive.split()[1])
        method, *arguments = config["hash_type"].split()
        settings["hasher"] = self._hash(method, arguments)
        self.farm = METHODS[method](servers, **settings)

    def _hash(self, method: str, arguments: list[str]) -> Hash:
        avalanche = "avalanche" in arguments if arguments else method == "consistent"
        if self.policy == "source":
            return Hash(haproxy.address_words, avalanche=avalanche)
        return Hash(FUNCTIONS[arguments[0]] if arguments else haproxy.sdbm, avalanche=avalanche)

    def _key(self, words: list[str]) -> Callable[[Any], Key | None]:
        """Return the function from a recorded key (header lines, target or client) to the key."""
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
                return lambda value: haproxy.req_hdr(*_lines(value))
            case "hdr(X-Key)" | "hdr(host)":
                domain = "use_domain_only" in words
                return lambda value: haproxy.hdr(*_lines(value), domain_only=domain)
            case _:
                raise LookupError(f"no such policy: {self.policy!r}")

    def command(self, text: str) -> None:
        """Execute a command of the runtime API."""
        what, name, *rest = text.split()
        if what not in {"weight", "enable", "disable"}:
            raise LookupError(f"no such command: {text!r}")
        if rest:
            self.weights[name] = int(rest[0])
        else:
            (self.down.add if what == "disable" else self.down.discard)(name)
        self.farm.put(name, 0 if name in self.down else self.weights[name])


def _no_key(_: object) -> None:
    """Return None, the key if the policy reads none."""


def _settings(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in {"port", "cookie"}}


def _lines(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


def _covered(case: dict[str, Any]) -> bool:
    """Return whether a preset covers a case; raise LookupError for an unknown name."""
    config = case["config"]
    check_names(("balance", "hash_type", "servers", "directives"), config, "HAProxy")
    for line in config["servers"]:
        check_names(SERVER_FIELDS, line, "a server of HAProxy")
    directives: list[str] = config.get("directives", [])
    persistent = [each for each in directives if COOKIE_DIRECTIVE.fullmatch(each)]
    others = [each for each in directives if not DIRECTIVE.fullmatch(each)]
    check_names(persistent, others, "a section")
    balance: str = config["balance"]
    is_random = RANDOM_POLICY.fullmatch(balance)
    named = f"{balance} ".startswith(f"{case['policy']} ")
    if not named or not (is_random or BALANCE.fullmatch(balance)):
        raise LookupError(f"no such policy: {case['policy']!r}, balance {balance!r}")
    hash_type: str | None = config.get("hash_type")
    if hash_type is not None and not HASH_TYPE.fullmatch(hash_type):
        raise LookupError(f"no such hash-type: {hash_type!r}")
    return not (is_random or persistent)


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Return the picks as names; None if they are random or depend on a cookie."""
    if not _covered(case):
        return None
    section = BackendSection(case["config"])
    farm, picks, held = section.farm, list[Any](), dict[Any, str]()
    keys: list[Any] = case["keys"] if "keys" in case else [None] * case.get("n", 0)
    operations: list[list[Any]] = case.get("ops") or [["req", key] for key in keys]
    for what, *arguments in operations:
        if what == "cmd":
            section.command(arguments[0])
        elif what == "close":
            farm.finished(held.pop(arguments[0]))
        else:
            name = farm.pick(section.key(arguments[-1]))
            farm.started(name)
            picks.append(name)
            if what == "open":
                held[arguments[0]] = name
            else:
                farm.finished(name)
    return [picks]
