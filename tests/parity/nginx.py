"""Cases of nginx: a proxy of one worker, on its own clock, with ``proxy_next_upstream``."""

from collections.abc import Callable, Iterable
from typing import Any

from balancers import FAILURE, Balancer, NoBackendAvailable
from balancers.interop import nginx
from tests.parity.words import only, policy_in

__all__ = ["POLICIES", "Proxy", "replay", "run", "tries"]

POLICIES: dict[str, Callable[[Iterable[nginx.Server]], Balancer[str]]] = {
    "round_robin": nginx.RoundRobin,
    "least_conn": nginx.LeastConn,
    "hash": nginx.Hash,
    "hash_consistent": nginx.ConsistentHash,
    "ip_hash": nginx.IPHash,
}
CHANCE = {"random", "random_two_least_conn"}
"""What chance picks."""
SETTINGS = ("weight", "max_conns", "max_fails", "fail_timeout", "backup", "down")
BESIDE = ("server", "refuses")


class Proxy:
    """The part of nginx around an upstream: it sends, it hears of failures, it tries again."""

    def __init__(self, case: dict[str, Any]) -> None:
        servers = [
            (server, nginx.Server(server["server"], **_known(server)))
            for server in case["config"]["servers"]
        ]
        self.upstream = policy_in(POLICIES, case)([server for _, server in servers])
        self.names = [server.address for _, server in servers]
        self.failing = {server.address for told, server in servers if told.get("refuses")}
        self.budget = sum(not server.down for _, server in servers)
        self.now = 0.0
        self.opened: list[str | None] = []
        self.picks: list[int] = []
        self.tries: list[list[int]] = []

    def send(self, key: str | None = None) -> str | None:
        """Send a request; give the server that holds it now."""
        tried: list[str] = []
        holder: str | None = None
        while len(tried) < max(1, self.budget):
            try:
                server = self.upstream.pick(key, self.now, avoid=tried)
            except NoBackendAvailable:
                tried.append("")
                break
            self.upstream.started(server, self.now)
            tried.append(server)
            if server not in self.failing:
                holder = server
                break
            self.upstream.finished(server, FAILURE, self.now)
        self.picks.append(-1 if holder is None else self.names.index(holder))
        self.tries.append([self.names.index(name) if name else -1 for name in tried])
        return holder

    def end(self, holder: str | None) -> None:
        """End a request well."""
        if holder is not None:
            self.upstream.finished(holder, now=self.now)

    def do(self, operation: list[Any]) -> None:
        """Do one operation of a case."""
        what, *told = operation
        match what:
            case "req":
                self.end(self.send())
            case "open":
                self.opened.append(self.send())
            case "close":
                self.end(self.opened[int(told[0])])
            case "mode":
                name = self.names[int(told[0])]
                (self.failing.add if told[1] == "fail" else self.failing.discard)(name)
            case "at":
                self.now = float(told[0])
            case _:
                raise ValueError(f"no operation: {what!r}")


def _known(server: dict[str, Any]) -> dict[str, Any]:
    only((*SETTINGS, *BESIDE), server, "an nginx server")
    return {name: server[name] for name in SETTINGS if name in server}


def run(case: dict[str, Any]) -> Proxy:
    """Send the requests of a case."""
    proxy = Proxy(case)
    if "keys" in case:
        for key in case["keys"]:
            proxy.end(proxy.send(key))
    else:
        for operation in case.get("ops") or [["req"]] * case["n"]:
            proxy.do(operation)
    return proxy


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Give the picks as indices, -1 for a refusal; None where chance picks."""
    only(("servers", "key", "held"), case["config"], "nginx")
    for server in case["config"]["servers"]:
        _known(server)
    if case["policy"] in CHANCE:
        return None
    return [run(case).picks]


def tries(case: dict[str, Any]) -> list[list[int]]:
    """Give every server tried, of each request."""
    return run(case).tries
