"""nginx, with one ``upstream`` per case."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.parity.live import generate
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
"""Seconds for which a failed server stays closed; a case takes only a few."""


class Nginx:
    """One process, no master; the header ``X-Tried`` has the servers that were tried."""

    name = "nginx"
    matched = "1.22.1"
    package = "nginx (Debian)"

    def generate(self, rng: Random) -> Case:
        """Generate an upstream of up to nine servers: some down, refusing, full or backups."""
        policy = rng.choice(list(METHODS))
        hashing = "hash" in policy
        count = rng.randint(1, 9)
        servers: list[dict[str, Any]] = [
            {"server": text, "weight": weight}
            for text, weight in zip(
                generate.addresses(rng, count), generate.weights(rng, count), strict=True
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
            case["keys"] = generate.clients(rng, 120)
        elif hashing:
            case["keys"] = generate.keys(rng, 120, empty=rng.choice([0, 0.1]))
        else:
            if rng.random() < 0.4:
                for server in servers:
                    server["max_conns"] = rng.randint(0, 3)
            ops = generate.overlapping(rng, 80, rng.choice([1, 4, 12]), [None])
            case["ops"] = [["open"] if op[0] == "open" else op for op in ops]
        return case

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Return the addresses that listen, and those that refuse connections."""
        addresses = {bool(refuses): list[Address]() for refuses in (False, True)}
        for server in case["config"]["servers"]:
            host, _, port = server["server"].rpartition(":")
            addresses[server.get("refuses", False)].append((host, int(port)))
        return addresses[False], addresses[True]

    def unhealthy(self, case: Case) -> list[str]:
        """Return no names: there are no health checks."""
        return []

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a ``server`` and an ``upstream`` per case, and return the command."""
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
        """Return True: listening is enough."""
        return True

    async def change(self, place: int, command: str, folder: Path) -> None:
        """Not supported by this program."""
        raise NotImplementedError(command)

    def wire(self, case: Case, key: Any) -> Wire:
        """Put a key into the header that the upstream hashes."""
        if key is None:
            return Wire()
        return Wire(headers=[("X-Client" if case["policy"] == "ip_hash" else "X-Key", key)])

    def pick(self, case: Case, server: str | None) -> int:
        """Return the index of the picked server, -1 for a refusal."""
        return -1 if server is None else _place(case, server)

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Return the indices of the servers that were tried."""
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
    parameters = [
        f"{name}={server[name]}"
        for name in ("weight", "max_fails", "fail_timeout", "max_conns")
        if name in server
    ]
    parameters += [name for name in ("down", "backup") if server.get(name)]
    return f"server {server['server']} {' '.join(parameters)};"
