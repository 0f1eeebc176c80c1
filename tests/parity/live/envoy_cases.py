"""Random cases of Envoy."""

from collections.abc import Callable
from random import Random
from typing import Any

from tests.parity.live import generate
from tests.parity.live.program import Case

__all__ = ["random_case"]

PRIMES = (11, 251, 1009, 65537)
ATTEMPTS = 1000
"""Attempts to find a host that was not tried, for each retry."""
Hosts = list[dict[str, Any]]
Settings = dict[str, Any]


def random_case(rng: Random) -> Case:
    """Return a cluster of up to twelve hosts, with one trait, and its requests."""
    policy = rng.choice(["RING_HASH", "RING_HASH", "MAGLEV", "MAGLEV", "turns"])
    count = rng.randint(1, 12)
    ports = rng.sample(range(10_000, 32_768), count)
    if policy == "turns":
        return _turns(rng, ports)
    hosts: Hosts = [
        {"address": "127.0.0.1", "port": port, "weight": weight}
        for port, weight in zip(ports, generate.weights(rng, count), strict=True)
    ]
    if rng.random() < 0.2:
        for host in hosts:
            host["hash_key"] = f"node-{rng.getrandbits(30)}"
    settings = _table(rng, policy, count)
    rng.choice(TRAITS)(rng, hosts, settings)
    config = {"lb": settings, "hash_policy": [{"header": "x-key"}], "hosts": hosts}
    case: Case = {"policy": policy, "kind": "keyed", "config": config}
    if "hash_balance_factor" in settings:
        hot = generate.keys(rng, 6)
        return case | {"kind": "ops", "ops": generate.overlapping(rng, 100, 12, hot)}
    if rng.random() < 0.2:
        policies, requests = rng.choice(REQUESTS)(rng)
        return case | {"config": config | {"hash_policy": policies}, "keys": requests}
    return case | {"keys": generate.keys(rng, 120)}


def _plain(_rng: Random, _hosts: Hosts, _settings: Settings) -> None:
    """Add no trait."""


def _unhealthy(rng: Random, hosts: Hosts, settings: Settings) -> None:
    share = rng.choice([0.1, 0.5, 0.9])
    for host in hosts:
        if rng.random() < share:
            host["health"] = "UNHEALTHY"
    settings |= rng.choice([{}, {"panic_threshold": rng.choice([0, 20, 100])}])


def _degraded(rng: Random, hosts: Hosts, _settings: Settings) -> None:
    """Degrade few hosts, so that the healthy ones get the whole load."""
    for host in rng.sample(hosts, len(hosts) // 4):
        host["health"] = "DEGRADED"


def _prioritized(rng: Random, hosts: Hosts, _settings: Settings) -> None:
    for place, host in enumerate(hosts):
        host["priority"] = 2 * place // len(hosts)
        if rng.random() < 0.3:
            host["health"] = "UNHEALTHY"


def _bounded(rng: Random, _hosts: Hosts, settings: Settings) -> None:
    settings["hash_balance_factor"] = rng.choice([101, 120, 150, 200])


def _refusing(rng: Random, hosts: Hosts, settings: Settings) -> None:
    for host in hosts:
        host["weight"] = 1
    if len(hosts) > 1:
        dead = rng.sample(hosts, rng.randint(1, len(hosts) // 2))
        settings["dead_ports"] = [host["port"] for host in dead]
        settings["num_retries"] = len(hosts)
        settings["host_selection_retry_max_attempts"] = ATTEMPTS


def _turns(rng: Random, ports: list[int]) -> Case:
    """Return a short sequence with small weights, whose ties Envoy's doubles cannot change.

    Of two hosts due at the same time, Envoy picks the lighter one, because it is ahead by about
    1e-13 of the time.  40 rounding errors of the time are smaller than that if the values 1/w
    differ by 1/20 or more.  Under load, hosts with equal weights are not ahead of each other: the
    rounding errors decide, and they depend on a random offset.
    """
    policy = rng.choice(["ROUND_ROBIN", "LEAST_REQUEST"])
    loaded = policy == "LEAST_REQUEST" and rng.random() < 0.5
    heaviest = 5
    ports = ports[:heaviest]
    weights = rng.choices(range(1, heaviest + 1), k=len(ports))
    if loaded:
        weights = rng.sample(range(1, heaviest + 1), len(ports))
    if len(set(weights)) == 1:
        policy, loaded = "ROUND_ROBIN", False  # with equal weights, LEAST_REQUEST picks at random
    hosts = [
        {"address": "127.0.0.1", "port": port, "weight": weight}
        for port, weight in zip(ports, weights, strict=True)
    ]
    case: Case = {"policy": policy, "config": {"lb": {}, "hosts": hosts}}
    if loaded:
        return case | {"kind": "ops", "ops": generate.overlapping(rng, 40, 8, ["hot"])}
    return case | {"kind": "sequence", "n": 40}


def _table(rng: Random, policy: str, count: int) -> dict[str, Any]:
    if policy == "MAGLEV":
        return {"table_size": rng.choice([prime for prime in PRIMES if prime >= 4 * count])}
    least = rng.choice([1, 64, 1000, 1024])
    size = rng.choice([{}, {"maximum_ring_size": rng.choice([max(least, 13), 4096])}])
    function = rng.choice([{}, {"hash_function": "MURMUR_HASH_2"}])
    return {"minimum_ring_size": least, **size, **function}


def _placed(rng: Random, hosts: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Put the hosts into up to three zones, each a contiguous part of the list."""
    zones = rng.sample(["zA", "zB", "zC"], 3)
    weighted = {zone: rng.randint(1, 5) for zone in zones}
    if rng.random() < 0.6:
        settings["locality_weighted"] = True
    for place, host in enumerate(hosts):
        host["locality"] = zones[3 * place // len(hosts)]
        if "locality_weighted" in settings:
            host["locality_weight"] = weighted[host["locality"]]


Requests = tuple[list[dict[str, Any]], list[Any]]
"""The hash policies and the requests of a case."""


def _headers(rng: Random) -> Requests:
    known = generate.keys(rng, 120, ascii_only=True)
    requests: list[Any] = [
        {"headers": [["x-b", key], *([["x-a", other]] * rng.randint(0, 1))]}
        for key, other in zip(known, reversed(known), strict=True)
    ]
    for request in requests[::5]:
        request["headers"].append(["x-b", rng.choice(known)])
    return [{"header": "x-a", "terminal": rng.random() < 0.5}, {"header": "x-b"}], requests


def _cookies(rng: Random) -> Requests:
    known = [key.replace("=", "") for key in generate.keys(rng, 120, ascii_only=True)]
    requests = [{"headers": [["cookie", f"a=1; sess=x{key}; z=2"]]} for key in known]
    return [{"cookie": "sess"}], requests


def _parameters(rng: Random) -> Requests:
    known = generate.keys(rng, 120, ascii_only=True)
    return [{"query_parameter": "id"}], [{"path": f"/p?x=1&id={key}&id=2"} for key in known]


def _sources(rng: Random) -> Requests:
    return [{"source_ip": True}], [{"xff": client} for client in generate.clients(rng, 120)]


def _rewritten(rng: Random) -> Requests:
    numbers = [rng.randrange(10**6) for _ in range(120)]
    requests = [f"user-{number}-{rng.choice('abc')}" for number in numbers]
    return [{"header": "x-key", "regex": r"^user-(\d+)-.*$", "sub": r"\1"}], requests


TRAITS: tuple[Callable[[Random, Hosts, Settings], None], ...] = (
    _plain,
    _unhealthy,
    _degraded,
    _placed,
    _prioritized,
    _bounded,
    _refusing,
)
REQUESTS: tuple[Callable[[Random], Requests], ...] = (
    _headers,
    _cookies,
    _parameters,
    _sources,
    _rewritten,
)
