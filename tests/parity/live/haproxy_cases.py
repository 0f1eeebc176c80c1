"""Random cases of HAProxy."""

from collections.abc import Callable
from random import Random
from typing import Any

from tests.parity.live import generate
from tests.parity.live.program import Case

__all__ = ["ABSOLUTE_PREFIX", "random_case"]

FUNCTIONS = ("", " sdbm", " djb2", " wt6", " crc32")
LABELS = ("www", "shop", "img", "a", "example", "com")
ABSOLUTE_PREFIX = "http://h0.example"
"""The start of targets in absolute form."""
Config = dict[str, Any]


def random_case(rng: Random) -> Case:
    """Return a section of up to eight servers, and its requests."""
    balance = rng.choice([*SEQUENCES, *HASHES, "hdr(X-Key)", "uri"])
    directives = ["option allbackups"] if rng.random() < 0.3 else []
    config: Config = {
        "servers": _servers(rng, equal=balance == "roundrobin"),
        "balance": balance + (_uri_settings(rng) if balance == "uri" else ""),
        "hash_type": None,
        "directives": directives,
    }
    case: Case = {"policy": balance, "kind": "keyed", "config": config}
    if balance in SEQUENCES:
        return case | {"kind": "ops", "ops": SEQUENCES[balance](rng, config)}
    function = rng.choice(FUNCTIONS)
    spread = rng.choice(["", " avalanche"]) if function else ""
    config["hash_type"] = rng.choice(["map-based", "consistent"]) + function + spread
    return case | HASHES[balance](rng, config)


def _servers(rng: Random, equal: bool) -> list[dict[str, Any]]:
    """Return servers: some with an id, some down or backups; at least one can serve."""
    count = rng.randint(1, 8)
    ports, ids = rng.sample(range(10_000, 32_768), count), rng.sample(range(20, 5000), count)
    weights = [1] * count if equal else generate.weights(rng, count, most=60)
    servers: list[dict[str, Any]] = [
        {"name": f"s{place}", "port": port, "weight": weight}
        for place, (port, weight) in enumerate(zip(ports, weights, strict=True), 1)
    ]
    for server, number in zip(servers, ids, strict=True):
        if rng.random() < 0.2:
            server["id"] = number
    for server in servers[1:]:
        if rng.random() < 0.15:
            server["disabled"] = True
        elif rng.random() < 0.1:
            server["backup"] = True
    if rng.random() < 0.15 and any("backup" in server for server in servers):
        for server in servers:
            if "backup" not in server:
                server["disabled"] = True
    return servers


def _first(rng: Random, config: Config) -> list[list[Any]]:
    """Return requests that fill servers, but never every server."""
    for server in config["servers"]:
        server["maxconn"] = rng.randint(1, 4)
    usable = [server for server in config["servers"] if "disabled" not in server]
    serving = [server for server in usable if "backup" not in server] or usable[:1]
    most = sum(server["maxconn"] for server in serving)
    return generate.overlapping(rng, 80, most, [None])


def _loaded(rng: Random, _config: Config) -> list[list[Any]]:
    return generate.overlapping(rng, 100, 12, [None])


def _idle(_rng: Random, _config: Config) -> list[list[Any]]:
    return [["req", None] for _ in range(100)]


def _header(rng: Random, config: Config) -> dict[str, Any]:
    """Return keys, header lines, overlapping requests, or requests with changes between them."""
    consistent = config["hash_type"].startswith("consistent")
    if consistent and rng.random() < 0.3:
        factor = rng.choice([101, 110, 125, 150, 200, 400])
        config["directives"].append(f"hash-balance-factor {factor}")
        hot = generate.keys(rng, 6)
        return {"kind": "ops", "ops": generate.overlapping(rng, 100, 12, hot)}
    keys = generate.keys(rng, 120)
    if rng.random() < 0.3:
        lines = [[", ".join(rng.sample(keys, 2)), rng.choice(keys)] for _ in range(120)]
        return {"kind": "multihdr", "keys": lines}
    ops: list[list[Any]] = []
    for key in keys:
        if rng.random() < 0.1:
            ops.append(["cmd", _change(rng, config["servers"], consistent)])
        ops.append(["req", key if rng.random() < 0.9 else None])
    return {"kind": "ops", "ops": ops}


def _expression(rng: Random, _config: Config) -> dict[str, Any]:
    return {"keys": generate.keys(rng, 120)}


def _hosts(rng: Random, _config: Config) -> dict[str, Any]:
    hosts = [".".join(rng.choices(LABELS, k=rng.randint(1, 4))) for _ in range(80)]
    return {"kind": "host", "keys": hosts}


def _targets(rng: Random, _config: Config) -> dict[str, Any]:
    return {"kind": "uri", "keys": [_target(rng) for _ in range(120)]}


def _parameters(rng: Random, _config: Config) -> dict[str, Any]:
    values = generate.keys(rng, 120, ascii_only=True)
    return {"kind": "uri", "keys": [f"/p?a=1&id={value}&z=3" for value in values]}


def _sources(rng: Random, _config: Config) -> dict[str, Any]:
    return {"kind": "source", "keys": generate.clients(rng, 120)}


def _uri_settings(rng: Random) -> str:
    settings = [
        f" len {rng.randint(1, 30)}",
        f" depth {rng.randint(1, 4)}",
        " whole",
        " path-only",
    ]
    return "".join(each for each in settings if rng.random() < 0.3)


def _target(rng: Random) -> str:
    parts = generate.keys(rng, rng.randint(1, 5), ascii_only=True)
    query = rng.choice(["", "?q=1", "?a/b=c"])
    prefix = rng.choice(["", "", "", ABSOLUTE_PREFIX])
    return prefix + "/" + "/".join(part.replace("?", "") for part in parts) + query


def _change(rng: Random, servers: list[dict[str, Any]], with_weights: bool) -> str:
    """Return a change of a server that is neither the first nor a backup: one stays up."""
    others = [server["name"] for server in servers[1:] if not server.get("backup")]
    if not others:
        return f"enable {servers[0]['name']}"
    name = rng.choice(others)
    if with_weights and rng.random() < 0.4:
        return f"weight {name} {rng.randint(1, 50)}"
    return f"{rng.choice(['enable', 'disable'])} {name}"


SEQUENCES: dict[str, Callable[[Random, Config], list[list[Any]]]] = {
    "static-rr": _idle,
    "leastconn": _loaded,
    "first": _first,
    "roundrobin": _idle,
}
HASHES: dict[str, Callable[[Random, Config], dict[str, Any]]] = {
    "hdr(X-Key)": _header,
    "hash req.hdr(X-Key)": _expression,
    "hdr(host) use_domain_only": _hosts,
    "uri": _targets,
    "url_param id": _parameters,
    "source": _sources,
}
