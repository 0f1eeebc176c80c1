"""Cases of memcached's clients: some servers, a key after the other, and whose each is."""

from collections.abc import Callable, Iterable
from typing import Any

from balancers import Balancer
from balancers.interop import ketama

__all__ = ["replay", "run"]


def _libmemcached(config: dict[str, Any], policy: str) -> Balancer[str]:
    key_hash = config["behaviors"].get("hash")
    match policy:
        case "ketama":
            return ketama.LibmemcachedKetama(hash=key_hash)
        case "ketama_weighted":
            return ketama.LibmemcachedKetama(weighted=True, hash=key_hash)
        case "ketama_spy":
            return ketama.LibmemcachedSpy(hash=key_hash)
        case _:
            return ketama.LibmemcachedModula(hash=key_hash or "default")


def _twemproxy(config: dict[str, Any], policy: str) -> Balancer[str]:
    names = {each["server"]: each["name"] for each in config["servers"] if "name" in each}
    settings: dict[str, Any] = {"hash": config["hash"], "hash_tag": config.get("hash_tag", "")}
    if policy == "modula":
        return ketama.TwemproxyModula[str](names=names, **settings)
    return ketama.TwemproxyKetama[str](names=names, **settings)


def _uhashring(config: dict[str, Any], policy: str) -> Balancer[str]:
    settings = {name: config[name] for name in ("vnodes", "replicas") if name in config}
    if policy == "uhashring_default":
        return ketama.UHashRing[str](**settings)
    return ketama.UHashRingKetama[str](**settings)


CLIENTS: dict[str, Callable[[dict[str, Any], str], Balancer[str]]] = {
    "libmemcached": _libmemcached,
    "twemproxy": _twemproxy,
    "uhashring": _uhashring,
}


def run(case: dict[str, Any]) -> list[int]:
    """Give the picks as indices."""
    config, oracle = case["config"], case["oracle"].split(" ")[0]
    client = CLIENTS[oracle](config, case["policy"])
    servers = [each["server"] for each in config["servers"]]
    for each in config["servers"]:
        client.put(each["server"], each["weight"])
        if each.get("down"):
            client.put(each["server"], 0)
    return [servers.index(client.pick(key)) for key in case["keys"]]


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Give the picks of a case in the parity scope."""
    return None if case["policy"] == "modula" else [run(case)]
