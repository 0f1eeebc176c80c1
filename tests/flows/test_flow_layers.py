"""How many connections break, with and without each of the two layers.

Figures: ``python -m tests.flows.test_flow_layers`` prints the table of docs/flows.md.
"""

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from random import Random

import pytest

from balancers import Balancer, HashRing, RandomChoice
from balancers.algorithms._modulo import Modulo
from balancers.flows import FlowKey, FlowTable

FLOWS = 10_000
BACKENDS = [f"10.0.0.{i}:443" for i in range(1, 11)]
LEAVER, NEWCOMER = "10.0.0.4:443", "10.0.0.11:443"
POINTS = 160

Make = Callable[[list[str], Random], Balancer[str]]

LAYERS: dict[str, tuple[bool, Make]] = {
    "table and ring": (True, lambda members, _: HashRing(members, points=POINTS)),
    "ring alone": (False, lambda members, _: HashRing(members, points=POINTS)),
    "table and modulo": (True, lambda members, _: Modulo(members)),
    "modulo alone": (False, lambda members, _: Modulo(members)),
    "neither": (False, lambda members, rng: RandomChoice(members, rng=rng)),
}
"""Whether there is a table, and who picks; neither: each packet by chance."""
EVENTS: dict[str, tuple[str | None, str | None, bool]] = {
    "nothing": (None, None, False),
    "one of ten leaves": (LEAVER, None, False),
    "an eleventh joins": (None, NEWCOMER, False),
    "another instance takes over": (None, None, True),
    "one leaves, another instance takes over": (LEAVER, None, True),
    "one joins, another instance takes over": (None, NEWCOMER, True),
}
"""Who leaves, who joins, and whether the next packet finds another balancer with an empty table."""


def flows() -> list[FlowKey]:
    rng = Random(7)
    return [
        FlowKey("tcp", rng.randbytes(4), 1024 + rng.randrange(60_000), "198.51.100.7", 443)
        for _ in range(FLOWS)
    ]


def broken(layers: str, event: str) -> float:
    """Share of connections whose second packet misses a backend that is still there."""
    tabled, make = LAYERS[layers]
    leaver, newcomer, elsewhere = EVENTS[event]
    rng = Random(1)
    balancer, table = make(BACKENDS, rng), FlowTable[str]()

    def serve(flow: FlowKey, now: float) -> str:
        return (
            table.route(flow, balancer.pick, now, "established") if tabled else balancer.pick(flow)
        )

    begun = {flow: serve(flow, 0.0) for flow in flows()}
    if leaver is not None:
        balancer.discard(leaver)
        table.forget(leaver)
    if newcomer is not None:
        balancer.put(newcomer)
    if elsewhere:
        balancer, table = make([*balancer.weights][::-1], rng), FlowTable[str]()
    alive = [flow for flow, backend in begun.items() if backend != leaver]
    return sum(serve(flow, 1.0) != begun[flow] for flow in alive) / len(alive)


def expected(layers: str, event: str) -> tuple[float, float]:
    """Give the share that must break and how far chance may lead from it: four deviations.

    By modulo a flow stays with one of as many as there are after the change; by a ring it moves to
    the newcomer only, whose share of the ring itself varies.
    """
    leaver, newcomer, elsewhere = EVENTS[event]
    members = len(BACKENDS) + (newcomer is not None) - (leaver is not None)
    tabled = LAYERS[layers][0]
    if layers == "neither":
        share, varies = 1 - 1 / members, 0.0
    elif (tabled and not elsewhere) or (leaver, newcomer) == (None, None):
        return 0.0, 0.0
    elif "modulo" in layers:
        share, varies = 1 - 1 / members, 0.0
    elif newcomer is None:
        return 0.0, 0.0
    else:
        share = 1 / members
        varies = share * sqrt((members - 1) / (POINTS * members + 1))
    return share, 4 * sqrt(varies**2 + share * (1 - share) / (0.8 * FLOWS))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("layers", LAYERS)
def test_what_breaks_is_what_must(layers: str, event: str) -> None:
    share, tolerance = expected(layers, event)
    assert abs(broken(layers, event) - share) <= tolerance


def test_after_one_joins_the_old_backend_is_the_second_choice_at_most() -> None:
    """What GitHub's GLB does instead of a table."""
    ring = HashRing(BACKENDS)
    begun = {flow: ring.pick(flow) for flow in flows()}
    ring.put(NEWCOMER)
    assert all(backend in ring.replicas(flow, 2) for flow, backend in begun.items())


def rows() -> list[str]:
    lines = [["what happens", *LAYERS], ["---"] * (1 + len(LAYERS))]
    lines += [
        [event, *(f"{100 * broken(layers, event):.1f} %" for layers in LAYERS)] for event in EVENTS
    ]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def test_the_documentation_has_these_figures() -> None:
    page = Path(__file__).parents[2] / "docs" / "flows.md"
    assert "\n".join(rows()) in page.read_text(encoding="utf-8")


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - the table of the documentation
