"""nginx, asked through an ``upstream`` a case."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.parity.live import draws
from tests.parity.live.backends import Address
from tests.parity.live.client import Answer, Wire
from tests.parity.live.program import Case, Front, executable

__all__ = ["Nginx"]

METHODS = {
    "round_robin": "",
    "least_conn": "least_conn;",
    "hash": "hash $http_x_key;",
    "hash_consistent": "hash $http_x_key consistent;",
    "ip_hash": "ip_hash;",
}
FOREVER = 3600
"""Seconds that a failed server stays closed, of a case that takes a few."""


class Nginx:
    """One process, no master; ``X-Tried`` tells which servers were tried."""

    name = "nginx"
    matched = "1.22.1"
    package = "nginx (Debian)"

    def draw(self, rng: Random) -> Case:
        """Draw an upstream of up to nine servers, some down, refusing, full or for backup."""
        policy = rng.choice(list(METHODS))
        hashing = "hash" in policy
        count = rng.randint(1, 9)
        servers: list[dict[str, Any]] = [
            {"server": text, "weight": weight}
            for text, weight in zip(
                draws.addresses(rng, count), draws.weights(rng, count), strict=True
            )
        ]
        fails = rng.choice([0, 1, 1, 3])
        refuse = rng.choice([0.0, 0.0, 0.2, 0.7])
        for place, server in enumerate(servers):
            server |= {"max_fails": fails, "fail_timeout": FOREVER}
            if rng.random() < refuse:
                server["refuses"] = True
            if place and rng.random() < 0.15:
                server["down"] = True
            elif place and not hashing and rng.random() < 0.2:
                server["backup"] = True
        case: Case = {"policy": policy, "config": {"servers": servers}}
        if policy == "ip_hash":
            case["keys"] = draws.clients(rng, 120)
        elif hashing:
            case["keys"] = draws.keys(rng, 120, empty=rng.choice([0, 0.1]))
        else:
            if rng.random() < 0.4:
                for server in servers:
                    server["max_conns"] = rng.randint(0, 3)
            ops = draws.overlapping(rng, 80, rng.choice([1, 4, 12]), [None])
            case["ops"] = [["open"] if op[0] == "open" else op for op in ops]
        return case

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Give the addresses that listen, and those that refuse."""
        told = {bool(refuses): list[Address]() for refuses in (False, True)}
        for server in case["config"]["servers"]:
            host, _, port = server["server"].rpartition(":")
            told[server.get("refuses", False)].append((host, int(port)))
        return told[False], told[True]

    def sick(self, case: Case) -> list[str]:
        """Nobody is asked for his health."""
        return []

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a ``server`` and an ``upstream`` for each case."""
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        sites = "".join(_site(place, case, address) for place, (case, address) in enumerate(fronts))
        path = folder / "nginx.conf"
        path.write_text(
            f"""daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log stderr emerg;
events {{ worker_connections 4096; }}
http {{
  access_log off; {temporary}
  keepalive_requests 1000000; keepalive_timeout 600s;
  set_real_ip_from 127.0.0.0/8; real_ip_header X-Client;
{sites}}}
"""
        )
        return [executable("nginx") or "nginx", "-c", str(path), "-p", str(folder), "-e", "stderr"]

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """It listens: that is all."""
        return True

    async def obey(self, place: int, told: str, folder: Path) -> None:
        """There is no changing it."""
        raise NotImplementedError(told)

    def wire(self, case: Case, key: Any) -> Wire:
        """Put a key where the upstream looks for it."""
        if key is None:
            return Wire()
        return Wire(headers=[("X-Client" if case["policy"] == "ip_hash" else "X-Key", key)])

    def pick(self, case: Case, server: str | None) -> int:
        """Write a pick as its place, -1 for a refusal."""
        return -1 if server is None else _place(case, server)

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Read the places of the servers tried."""
        return [_place(case, text) for text in answer.headers["x-tried"].split(", ")]


def _place(case: Case, text: str) -> int:
    names = [server["server"] for server in case["config"]["servers"]]
    return names.index(text) if text in names else -1


def _site(place: int, case: Case, address: Address) -> str:
    lines = "".join(f"    {_line(server)}\n" for server in case["config"]["servers"])
    return f"""  upstream u{place} {{
    {METHODS[case["policy"]]}
{lines}  }}
  server {{
    listen {address[0]}:{address[1]};
    location / {{ proxy_pass http://u{place}; add_header X-Tried $upstream_addr always; }}
  }}
"""


def _line(server: dict[str, Any]) -> str:
    told = [
        f"{name}={server[name]}"
        for name in ("weight", "max_fails", "fail_timeout", "max_conns")
        if name in server
    ]
    told += [name for name in ("down", "backup") if server.get(name)]
    return f"server {server['server']} {' '.join(told)};"
