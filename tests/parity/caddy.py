"""Cases of caddy: a site with one ``reverse_proxy``, and a list of requests."""

from collections.abc import Callable, Iterable
from typing import Any

from balancers import Balancer, NoBackendAvailable
from balancers.interop import caddy
from tests.parity.names import check_names, policy_in

__all__ = ["balancer_of", "replay", "run"]

SETTINGS = (
    "fallback",
    "field",
    "key",
    "name",
    "refuses",
    "retries",
    "secret",
    "set_cookie_attrs",
    "unavailable",
    "upstreams",
    "weights",
)
HASHING = {"header", "query", "uri_hash", "ip_hash", "client_ip_hash"}


def balancer_of(case: dict[str, Any]) -> Balancer[str] | None:
    """Return the preset of a case; None if weights cannot express its configuration."""
    policy, config = case["policy"], case["config"]
    check_names(SETTINGS, config, "caddy")
    fallbacks = [config[name] for name in ("fallback",) if name in config]
    check_names(("first",), fallbacks, "a fallback")
    upstreams = dict.fromkeys(config["upstreams"], 1.0)
    if policy in HASHING:
        fallback = caddy.First() if config.get("fallback") == "first" else None
        return caddy.Rendezvous(upstreams, fallback=fallback)
    if policy == "cookie":
        return caddy.Cookie(upstreams, secret=config["secret"])
    if policy == "weighted_round_robin":
        weights = config["weights"]
        if not 1 < len(weights) <= len(upstreams):
            return None
        padded = weights + [0] * (len(upstreams) - len(weights))
        return caddy.WeightedRoundRobin(dict(zip(upstreams, padded, strict=True)))
    return policy_in({"first": caddy.First, "round_robin": caddy.RoundRobin}, case)(upstreams)


KEYS: dict[str, Callable[[Any], str | bytes]] = {
    "query": ",".join,
    "ip_hash": caddy.ip_key,
    "client_ip_hash": lambda line: caddy.client_ip_key([line], peer="127.0.0.1"),
}
"""Functions from the key in a case to the key of the preset, if that is not the same text."""


def run(case: dict[str, Any]) -> list[int] | None:
    """Return the picks as indices, -1 for an error; None as with :func:`balancer_of`."""
    config = case["config"]
    upstreams: list[str] = config["upstreams"]
    policy = balancer_of(case)
    if policy is None:
        return None
    for place in config.get("unavailable", []):
        policy.put(upstreams[int(place)], 0)
    refuses = {upstreams[int(place)] for place in config.get("refuses", [])}
    keys: list[Any] = case["keys"] if "keys" in case else [None] * case["n"]
    key_of = KEYS.get(case["policy"], str)
    picks: list[int] = []
    for key in keys:
        place = -1
        for _ in range(1 + config.get("retries", 0)):
            try:
                upstream = policy.pick(None if key is None else key_of(key))
            except NoBackendAvailable:
                break
            if upstream not in refuses:
                place = upstreams.index(upstream)
                break
        picks.append(place)
    return picks


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Return the picks of a case; None as with :func:`balancer_of`."""
    picks = run(case)
    return None if picks is None else [picks]
