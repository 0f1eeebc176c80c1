"""Shows to which servers a method sends keys."""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from balancers._command_line.bad_input import BadInput
from balancers._command_line.building import KeyedMethod
from balancers._command_line.keys import key_of, key_text, random_keys, read_keys
from balancers._command_line.methods import parse_choice
from balancers._command_line.output import Report, percent, table
from balancers._command_line.servers import Server, read_servers
from balancers._internal.checks import shown
from balancers.balancer import Balancer
from balancers.quality import distribution

__all__ = ["run"]

_RANDOM = 10_000
_SHOWN_NEXT = 3
"""The number of next servers in the table of ``--explain``."""


def run(options: Namespace) -> Report:
    """Return where the keys go.  Raises BadInput, and the errors of the balancer."""
    method = KeyedMethod(parse_choice(options.method))
    servers = read_servers(options.servers, method.program)
    balancer = method.balancer(servers)
    _close(balancer, options.down)
    named = [key_of(key) for key in options.key]
    others = list[bytes]()
    if options.keys is not None:
        others = read_keys(options.keys)
    elif options.random is not None or not named:
        others = random_keys(options.random or _RANDOM, options.seed, addresses=method.addresses)
    keys = [*named, *others]
    picks = method.picks(balancer, keys)
    listed = len(keys) if options.each or options.explain else len(named)
    each = [
        {"key": key_text(key), "server": server}
        for key, server in zip(keys[:listed], picks, strict=False)
    ]
    if options.explain:
        for key, described in zip(keys, each, strict=True):
            described.update(_explained(method, balancer, servers, key))
    fair = method.fair(servers)
    shares = _shares(servers, fair, picks)
    data = {
        "command": "predict",
        "method": method.choice.name,
        "settings": method.choice.settings,
        "count": len(keys),
        "servers": shares,
        "keys": each,
    }
    parts = [_list(each, options.explain)] if each else []
    if others:
        parts.append(_table_of_shares(shares, len(keys)))
    draw = partial(_draw, title=method.choice.text, shares=shares, fair=fair)
    return Report("\n\n".join(parts), data, draw)


def _close(balancer: Balancer[str], names: str | None) -> None:
    """Mark servers down.  ``names`` are separated by commas."""
    for name in [] if names is None else names.split(","):
        if name not in balancer.weights:
            raise BadInput(f"--down: {shown(name)} is not one of the servers")
        balancer.put(name, 0)


def _shares(
    servers: Sequence[Server], weights: Mapping[str, float], picks: Iterable[str]
) -> list[dict[str, Any]]:
    counts = Counter(picks)
    evenness = distribution({server.name: counts[server.name] for server in servers}, weights)
    return [
        {
            "server": server.name,
            "weight": server.weight,
            "keys": counts[server.name],
            "share": evenness.shares[server.name],
            "fair": evenness.fair[server.name],
        }
        for server in servers
    ]


def _explained(
    method: KeyedMethod, balancer: Balancer[str], servers: Sequence[Server], key: bytes
) -> dict[str, Any]:
    """Return the hash of a key, its servers in the order of preference, and the closed servers."""
    succession = [*method.succession(balancer, key)]
    reached = set(succession)
    digest = method.digest(balancer, key)
    return {
        "hash": None if digest is None else hex(digest),
        "succession": succession,
        "closed": [
            {"server": server.name, "reason": _reason(balancer, server)}
            for server in servers
            if server.name not in reached
        ],
    }


def _reason(balancer: Balancer[str], server: Server) -> str:
    if not balancer.weights[server.name]:
        return "down"
    return "backup" if "backup" in server.words else "no points"


def _list(each: Sequence[dict[str, Any]], explain: bool) -> str:
    if not explain:
        return table(("key", "server"), [(one["key"], one["server"]) for one in each], texts=2)
    rows = [
        (
            one["key"],
            one["hash"] or "-",
            one["server"],
            ", ".join(one["succession"][1 : 1 + _SHOWN_NEXT])
            + (", ..." if len(one["succession"]) > 1 + _SHOWN_NEXT else ""),
            ", ".join(f"{closed['server']} ({closed['reason']})" for closed in one["closed"]),
        )
        for one in each
    ]
    return table(("key", "hash", "server", "next", "closed"), rows, texts=5)


def _table_of_shares(shares: Sequence[dict[str, Any]], count: int) -> str:
    rows = [
        (
            one["server"],
            f"{one['weight']:g}",
            str(one["keys"]),
            percent(one["share"]),
            percent(one["fair"]),
        )
        for one in shares
    ]
    titles = ("server", "weight", "keys", "share", "fair")
    return f"{table(titles, rows)}\n{count} keys"


def _draw(
    axes: Any, title: str, shares: Sequence[dict[str, Any]], fair: Mapping[str, float]
) -> None:
    from balancers.quality.plots import share_bars  # noqa: PLC0415 - needs matplotlib

    share_bars({one["server"]: one["keys"] for one in shares}, fair, ax=axes, unit="keys")
    axes.set_title(title, loc="left", parse_math=False)
