"""Envoy 1.40.0: a recorded configuration as our presets say it, and what they pick."""

import re
from collections.abc import Callable, Iterable, Iterator
from math import gcd
from random import Random
from typing import Any

from balancers import NoBackendAvailable
from balancers.http import Request
from balancers.interop.envoy import (
    Cookie,
    HashPolicy,
    Header,
    LeastRequest,
    Locality,
    Maglev,
    QueryParameter,
    RingHash,
    RoundRobin,
    SourceIP,
    request_hash,
)
from tests.parity.words import only

__all__ = ["replay"]

NOBODY = -503
HASHED: dict[str, Callable[..., RingHash[str] | Maglev[str]]] = {
    "RING_HASH": RingHash[str],
    "MAGLEV": Maglev[str],
}
SETTINGS = (
    "hash_balance_factor",
    "hash_function",
    "maximum_ring_size",
    "minimum_ring_size",
    "overprovisioning_factor",
    "table_size",
)
BESIDE = (
    "dead_ports",
    "host_selection_retry_max_attempts",
    "locality_weighted",
    "num_retries",
    "panic_threshold",
    "use_hostname_for_hashing",
)
HOST = (
    "address",
    "hash_key",
    "health",
    "hostname",
    "locality",
    "locality_weight",
    "port",
    "priority",
    "weight",
)
HEALTH = ("HEALTHY", "UNHEALTHY", "DEGRADED")
HASH_POLICY = ("cookie", "header", "query_parameter", "regex", "source_ip", "sub", "terminal")
CHANCE = {"RANDOM", "LEAST_REQUEST_FULL_SCAN"}
"""What chance picks, and LEAST_REQUEST where weights are equal."""


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Give the ports picked, for each phase it may have begun with; None where chance picks."""
    config = case["config"]
    only(("hosts", "lb", "hash_policy"), config, "Envoy")
    only((*SETTINGS, *BESIDE), config["lb"], "Envoy's policies")
    for host in config["hosts"]:
        only(HOST, host, "a host")
        only(HEALTH, [host["health"]] if "health" in host else [], "a host's health")
    for policy in config.get("hash_policy", ()):
        only(HASH_POLICY, policy, "a hash policy")
    if case["policy"] in CHANCE:
        return None
    if case["policy"] in HASHED:
        return hashed(case)
    if case["policy"] not in {"ROUND_ROBIN", "LEAST_REQUEST"}:
        raise LookupError(f"no such policy: {case['policy']!r}")
    only(("overprovisioning_factor",), config["lb"], case["policy"])
    for host in config["hosts"]:
        only(HEALTH[:2], [host["health"]] if "health" in host else [], case["policy"])
        if host.get("priority"):
            raise LookupError(f"no priority of {case['policy']}: {host['priority']!r}")
    weights = [host["weight"] for host in config["hosts"]]
    if case["policy"] == "LEAST_REQUEST" and len(set(weights)) == 1:
        return None
    return scheduled(case, sum(weights) // gcd(*weights))


def hashed(case: dict[str, Any]) -> Iterator[list[Any]]:
    """RING_HASH and MAGLEV: every pick follows from the request."""
    lb = hash_cluster(case)
    ports = {name_of(host): host["port"] for host in case["config"]["hosts"]}
    dead = set(case["config"]["lb"].get("dead_ports", ()))
    policies = [policy_of(each) for each in case["config"].get("hash_policy", ())]
    if case["kind"] == "ops":
        yield [ports[name] for name in held(lb, case["ops"])]
        return
    picks: list[int] = []
    for key in case["keys"]:
        digest = request_hash(policies, request_of(key))
        assert digest is not None
        tried: list[str] = []
        try:
            while not tried or ports[tried[-1]] in dead:
                tried.append(lb.pick_hashed(digest, avoid=tried))
            picks.append(ports[tried[-1]])
        except NoBackendAvailable:
            picks.append(NOBODY)
    yield picks


def hash_cluster(case: dict[str, Any]) -> RingHash[str] | Maglev[str]:
    """Say a cluster: its hosts, where they are, what they are hashed by, and who is down."""
    config, hosts = case["config"]["lb"], case["config"]["hosts"]
    places = {
        name_of(host): Locality(zone=host.get("locality", ""), priority=host.get("priority", 0))
        for host in hosts
    }
    hash_keys = {
        name_of(host): host.get("hash_key")
        or (config.get("use_hostname_for_hashing") and host.get("hostname"))
        or name_of(host)
        for host in hosts
    }
    weighted = {places[name_of(host)]: host.get("locality_weight", 0) for host in hosts}
    lb = HASHED[case["policy"]](
        {name_of(host): host["weight"] for host in hosts},
        **{name: config[name] for name in SETTINGS if name in config},
        identity=hash_keys.__getitem__,
        locality=places.__getitem__,
        locality_weights=weighted if config.get("locality_weighted") else None,
        healthy_panic_threshold=config.get("panic_threshold", 50),
    )
    for host in hosts:
        if host.get("health") == "UNHEALTHY":
            lb.put(name_of(host), 0)
        elif host.get("health") == "DEGRADED":
            lb.degrade(name_of(host))
    return lb


def scheduled(case: dict[str, Any], period: int) -> Iterator[list[Any]]:
    """ROUND_ROBIN and weighted LEAST_REQUEST: a sequence, from a phase that is not recorded."""
    hosts = case["config"]["hosts"]
    ports = {name_of(host): host["port"] for host in hosts}
    for phase in range(period):
        weights = {name_of(host): host["weight"] for host in hosts}
        lb: RoundRobin[str] | LeastRequest[str] = (
            RoundRobin(weights, phase=phase)
            if case["policy"] == "ROUND_ROBIN"
            else LeastRequest(weights, phase=phase, rng=Random(0))
        )
        for host in hosts:
            if host.get("health") == "UNHEALTHY":
                lb.put(name_of(host), 0)
        if case["kind"] == "ops":
            yield [ports[name] for name in held(lb, case["ops"])]
        else:
            yield [ports[lb.pick()] for _ in range(case["n"])]


def held(lb: Any, ops: list[list[Any]]) -> Iterator[str]:
    """Give the picks of requests that begin and end as told."""
    holder: dict[int, str] = {}
    for what, number, *key in ops:
        if what == "open":
            holder[number] = lb.pick(*key)
            lb.started(holder[number])
            yield holder[number]
        elif what != "close":
            raise LookupError(f"no operation: {what!r}")
        else:
            lb.finished(holder.pop(number))


def name_of(host: dict[str, Any]) -> str:
    """Write a host as Envoy does."""
    address = host["address"]
    return f"[{address}]:{host['port']}" if ":" in address else f"{address}:{host['port']}"


def policy_of(policy: dict[str, Any]) -> HashPolicy:
    """Say one hash policy."""
    terminal = policy.get("terminal", False)
    if "cookie" in policy:
        return Cookie(policy["cookie"], terminal)
    if "query_parameter" in policy:
        return QueryParameter(policy["query_parameter"], terminal)
    if "source_ip" in policy:
        return SourceIP(terminal)
    rewrite = re.compile(policy["regex"]) if "regex" in policy else None
    return Header(policy["header"], rewrite, policy.get("sub", ""), terminal)


def request_of(key: Any) -> Request:
    """Read a request: the value of x-key, or its headers, path and client."""
    if isinstance(key, str):
        return Request(headers=[("x-key", key)])
    return Request(
        target=key.get("path", "/"),
        headers=[(name, value) for name, value in key.get("headers", [])],
        client=key.get("xff", ""),
    )
