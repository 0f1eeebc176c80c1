"""Cases of Envoy 1.40.0: a recorded configuration, made with the presets, and their picks."""

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
from tests.parity.names import check_names

__all__ = ["replay"]

NO_HOST = -503
"""The recorded pick of a refused request."""
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
OTHER_SETTINGS = (
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
RANDOM_POLICIES = {"RANDOM", "LEAST_REQUEST_FULL_SCAN"}
"""Policies whose picks are random; LEAST_REQUEST with equal weights is random too."""


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Return the picked ports for each possible phase; None if the picks are random."""
    config = case["config"]
    check_names(("hosts", "lb", "hash_policy"), config, "Envoy")
    check_names((*SETTINGS, *OTHER_SETTINGS), config["lb"], "a policy of Envoy")
    for host in config["hosts"]:
        check_names(HOST, host, "a host")
        check_names(HEALTH, [host["health"]] if "health" in host else [], "the health of a host")
    for policy in config.get("hash_policy", ()):
        check_names(HASH_POLICY, policy, "a hash policy")
    if case["policy"] in RANDOM_POLICIES:
        return None
    if case["policy"] in HASHED:
        return hashed(case)
    if case["policy"] not in {"ROUND_ROBIN", "LEAST_REQUEST"}:
        raise LookupError(f"no such policy: {case['policy']!r}")
    check_names(("overprovisioning_factor",), config["lb"], case["policy"])
    for host in config["hosts"]:
        check_names(HEALTH[:2], [host["health"]] if "health" in host else [], case["policy"])
        if host.get("priority"):
            raise LookupError(f"no such priority of {case['policy']}: {host['priority']!r}")
    weights = [host["weight"] for host in config["hosts"]]
    if case["policy"] == "LEAST_REQUEST" and len(set(weights)) == 1:
        return None
    return scheduled(case, sum(weights) // gcd(*weights))


def hashed(case: dict[str, Any]) -> Iterator[list[Any]]:
    """Return the picks of RING_HASH or MAGLEV; each depends only on its request."""
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
            picks.append(NO_HOST)
    yield picks


def hash_cluster(case: dict[str, Any]) -> RingHash[str] | Maglev[str]:
    """Return the preset of a case, with localities, hash keys and the health of the hosts."""
    config, hosts = case["config"]["lb"], case["config"]["hosts"]
    localities = {
        name_of(host): Locality(zone=host.get("locality", ""), priority=host.get("priority", 0))
        for host in hosts
    }
    hash_keys = {
        name_of(host): host.get("hash_key")
        or (config.get("use_hostname_for_hashing") and host.get("hostname"))
        or name_of(host)
        for host in hosts
    }
    weighted = {localities[name_of(host)]: host.get("locality_weight", 0) for host in hosts}
    lb = HASHED[case["policy"]](
        {name_of(host): host["weight"] for host in hosts},
        **{name: config[name] for name in SETTINGS if name in config},
        identity=hash_keys.__getitem__,
        locality=localities.__getitem__,
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
    """Return the sequence of ROUND_ROBIN or weighted LEAST_REQUEST for each phase.

    The phase of Envoy is not recorded.
    """
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
    """Return the picks of requests that start and end as the operations say."""
    hosts: dict[int, str] = {}
    for what, number, *key in ops:
        if what == "open":
            hosts[number] = lb.pick(*key)
            lb.started(hosts[number])
            yield hosts[number]
        elif what != "close":
            raise LookupError(f"no such operation: {what!r}")
        else:
            lb.finished(hosts.pop(number))


def name_of(host: dict[str, Any]) -> str:
    """Return the address of a host as Envoy writes it."""
    address = host["address"]
    return f"[{address}]:{host['port']}" if ":" in address else f"{address}:{host['port']}"


def policy_of(policy: dict[str, Any]) -> HashPolicy:
    """Return a hash policy of a case."""
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
    """Return a request from a key: the value of x-key, or headers, path and client."""
    if isinstance(key, str):
        return Request(headers=[("x-key", key)])
    return Request(
        target=key.get("path", "/"),
        headers=[(name, value) for name, value in key.get("headers", [])],
        client=key.get("xff", ""),
    )
