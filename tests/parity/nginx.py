"""Cases of nginx: a proxy with one worker, its own clock and ``proxy_next_upstream``."""

from collections.abc import Callable, Iterable
from typing import Any

from balancers import FAILURE, Balancer, NoBackendAvailable
from balancers.interop import nginx
from tests.parity.names import check_names, policy_in

__all__ = ["POLICIES", "Proxy", "replay", "run", "tries"]

POLICIES: dict[str, Callable[[Iterable[nginx.Server]], Balancer[str]]] = {
    "round_robin": nginx.RoundRobin,
    "least_conn": nginx.LeastConn,
    "hash": nginx.Hash,
    "hash_consistent": nginx.ConsistentHash,
    "ip_hash": nginx.IPHash,
}
RANDOM_POLICIES = {"random", "random_two_least_conn"}
"""Policies whose picks are random."""
SETTINGS = ("weight", "max_conns", "max_fails", "fail_timeout", "backup", "down")
OTHER_FIELDS = ("server", "refuses")


class Proxy:
    """The part of nginx around an upstream: it sends requests, notes failures and retries."""

    def __init__(self, case: dict[str, Any]) -> None:
        servers = [
            (server, nginx.Server(server["server"], **_settings(server)))
            for server in case["config"]["servers"]
        ]
        self.upstream = policy_in(POLICIES, case)([server for _, server in servers])
        self.names = [server.address for _, server in servers]
        self.failing = {server.address for line, server in servers if line.get("refuses")}
        self.max_tries = sum(not server.down for _, server in servers)
        self.now = 0.0
        self.opened: list[str | None] = []
        self.picks: list[int] = []
        self.tries: list[list[int]] = []

    def send(self, key: str | None = None) -> str | None:
        """Send a request; return the server that has it now."""
        tried: list[str] = []
        holder: str | None = None
        while len(tried) < max(1, self.max_tries):
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
        """End a request with success."""
        if holder is not None:
            self.upstream.finished(holder, now=self.now)

    def run_operation(self, operation: list[Any]) -> None:
        """Run one operation of a case."""
        what, *arguments = operation
        match what:
            case "req":
                self.end(self.send())
            case "open":
                self.opened.append(self.send())
            case "close":
                self.end(self.opened[int(arguments[0])])
            case "mode":
                name = self.names[int(arguments[0])]
                (self.failing.add if arguments[1] == "fail" else self.failing.discard)(name)
            case "at":
                self.now = float(arguments[0])
            case _:
                raise ValueError(f"no such operation: {what!r}")


def _settings(server: dict[str, Any]) -> dict[str, Any]:
    check_names((*SETTINGS, *OTHER_FIELDS), server, "an nginx server")
    return {name: server[name] for name in SETTINGS if name in server}


def run(case: dict[str, Any]) -> Proxy:
    """Send the requests of a case."""
    proxy = Proxy(case)
    if "keys" in case:
        for key in case["keys"]:
            proxy.end(proxy.send(key))
    else:
        for operation in case.get("ops") or [["req"]] * case["n"]:
            proxy.run_operation(operation)
    return proxy


def replay(case: dict[str, Any]) -> Iterable[list[Any]] | None:
    """Return the picks as indices, -1 for a refusal; None if the picks are random."""
    check_names(("servers", "key", "held"), case["config"], "nginx")
    for server in case["config"]["servers"]:
        _settings(server)
    if case["policy"] in RANDOM_POLICIES:
        return None
    return [run(case).picks]


def tries(case: dict[str, Any]) -> list[list[int]]:
    """Return every server that was tried, per request."""
    return run(case).tries
