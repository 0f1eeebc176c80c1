"""Cases of memcached clients: several servers, a list of keys, and the server of each key."""

from collections.abc import Callable, Iterable
from typing import Any

from balancers import Balancer
from balancers.interop import ketama
from tests.parity.names import check_names, policy_in

__all__ = ["replay", "run"]


def _libmemcached(case: dict[str, Any]) -> Balancer[str]:
    behaviors = case["config"]["behaviors"]
    check_names(BEHAVIORS, behaviors, "libmemcached")
    key_hash = behaviors.get("hash")
    policies: dict[str, Callable[[], Balancer[str]]] = {
        "ketama": lambda: ketama.LibmemcachedKetama(hash=key_hash),
        "ketama_weighted": lambda: ketama.LibmemcachedKetama(weighted=True, hash=key_hash),
        "ketama_spy": lambda: ketama.LibmemcachedSpy(hash=key_hash),
        "modula": lambda: ketama.LibmemcachedModula(hash=key_hash or "default"),
    }
    return policy_in(policies, case)()


def _twemproxy(case: dict[str, Any]) -> Balancer[str]:
    config = case["config"]
    names = {each["server"]: each["name"] for each in config["servers"] if "name" in each}
    settings: dict[str, Any] = {"hash": config["hash"], "hash_tag": config.get("hash_tag", "")}
    policies: dict[str, Callable[..., Balancer[str]]] = {
        "twemproxy_ketama": ketama.TwemproxyKetama[str],
        "modula": ketama.TwemproxyModula[str],
    }
    return policy_in(policies, case)(names=names, **settings)


def _uhashring(case: dict[str, Any]) -> Balancer[str]:
    config = case["config"]
    settings = {name: config[name] for name in ("vnodes", "replicas") if name in config}
    policies: dict[str, Callable[..., Balancer[str]]] = {
        "uhashring_default": ketama.UHashRing[str],
        "uhashring_ketama": ketama.UHashRingKetama[str],
    }
    return policy_in(policies, case)(**settings)


CLIENTS: dict[str, tuple[Callable[[dict[str, Any]], Balancer[str]], tuple[str, ...]]] = {
    "libmemcached": (_libmemcached, ("behaviors", "hash", "warm")),
    "twemproxy": (_twemproxy, ("auto_eject", "distribution", "hash", "hash_tag")),
    "uhashring": (_uhashring, ("replicas", "vnodes")),
}
"""By the first word of the oracle: a function that makes the client, and the known settings."""
BEHAVIORS = (
    "auto_eject",
    "distribution",
    "failure_limit",
    "hash",
    "ketama",
    "ketama_weighted",
    "retry_timeout",
)


def run(case: dict[str, Any]) -> list[int]:
    """Return the picks as indices."""
    config, oracle = case["config"], case["oracle"].split(" ")[0]
    make, settings = CLIENTS[oracle]
    check_names(("servers", *settings), config, oracle)
    client = make(case)
    servers = [each["server"] for each in config["servers"]]
    for each in config["servers"]:
        check_names(("down", "name", "server", "weight"), each, f"a server of {oracle}")
        client.put(each["server"], each["weight"])
        if each.get("down"):
            client.put(each["server"], 0)
    return [servers.index(client.pick(key)) for key in case["keys"]]


def replay(case: dict[str, Any]) -> Iterable[list[Any]]:
    """Return the picks of a case."""
    return [run(case)]
