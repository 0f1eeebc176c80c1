"""Tiers with an infinite factor pick what nginx picked with backup servers.

The presets keep their own code for backups, see docs/decisions/tiers.md; this compares the rule.
"""

import json
from math import inf
from pathlib import Path
from typing import Any

import pytest

from balancers import WeightedRoundRobin
from balancers.algorithms import Tiers

VECTORS = Path(__file__).parents[1] / "vectors/nginx_caddy_ketama"


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "name", ["nginx_wrr_backup_unused", "nginx_wrr_backup_used", "nginx_wrr_dead_backup"]
)
def test_backup_servers(name: str) -> None:
    case = recorded(name)
    servers: list[dict[str, Any]] = case["config"]["servers"]
    lb: Tiers[int] = Tiers(
        [WeightedRoundRobin[int](), WeightedRoundRobin[int]()],
        tier=lambda place: int(servers[place].get("backup", False)),
        factor=inf,
    )
    for place, server in enumerate(servers):
        lb.put(place, server["weight"])
        if server.get("down"):
            lb.condition_changed(place, "down")
            lb.put(place, 0)
    chains: list[list[int]] = case.get("tries") or [[place] for place in case["picks"]]
    assert len(chains) == case["n"]
    for chain in chains:
        tried: list[int] = []
        for place in chain:
            assert lb.pick(avoid=tried) == place
            tried.append(place)
