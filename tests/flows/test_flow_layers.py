"""The share of connections that break, with and without each of the two layers.

``python -m tests.flows.test_flow_layers`` prints the table of docs/flows.md.
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
LEAVING, JOINING = "10.0.0.4:443", "10.0.0.11:443"
POINTS = 160

Make = Callable[[list[str], Random], Balancer[str]]

LAYERS: dict[str, tuple[bool, Make]] = {
    "table and ring": (True, lambda members, _: HashRing(members, points=POINTS)),
    "ring alone": (False, lambda members, _: HashRing(members, points=POINTS)),
    "table and modulo": (True, lambda members, _: Modulo(members)),
    "modulo alone": (False, lambda members, _: Modulo(members)),
    "neither": (False, lambda members, rng: RandomChoice(members, rng=rng)),
}
"""Whether there is a table, and the balancer; "neither" picks a random backend per packet."""
EVENTS: dict[str, tuple[str | None, str | None, bool]] = {
    "nothing": (None, None, False),
    "one of ten leaves": (LEAVING, None, False),
    "an eleventh joins": (None, JOINING, False),
    "another instance takes over": (None, None, True),
    "one leaves, another instance takes over": (LEAVING, None, True),
    "one joins, another instance takes over": (None, JOINING, True),
}
"""The backends that leave and join, and whether another instance with an empty table takes over."""


def flows() -> list[FlowKey]:
    rng = Random(7)
    return [
        FlowKey("tcp", rng.randbytes(4), 1024 + rng.randrange(60_000), "198.51.100.7", 443)
        for _ in range(FLOWS)
    ]


def broken(layers: str, event: str) -> float:
    """Return the share of connections whose second packet misses a backend that is still there."""
    has_table, make = LAYERS[layers]
    leaving, joining, takeover = EVENTS[event]
    rng = Random(1)
    balancer, table = make(BACKENDS, rng), FlowTable[str]()

    def serve(flow: FlowKey, now: float) -> str:
        return (
            table.route(flow, balancer.pick, now, "established")
            if has_table
            else balancer.pick(flow)
        )

    begun = {flow: serve(flow, 0.0) for flow in flows()}
    if leaving is not None:
        balancer.discard(leaving)
        table.forget(leaving)
    if joining is not None:
        balancer.put(joining)
    if takeover:
        balancer, table = make([*balancer.weights][::-1], rng), FlowTable[str]()
    alive = [flow for flow, backend in begun.items() if backend != leaving]
    return sum(serve(flow, 1.0) != begun[flow] for flow in alive) / len(alive)


def expected(layers: str, event: str) -> tuple[float, float]:
    """Return the expected share that breaks, and a tolerance of four standard deviations.

    With modulo a flow stays with a probability of 1 / members after the change.  With a ring flows
    move only to the joining backend, whose share of the ring varies.
    """
    leaving, joining, takeover = EVENTS[event]
    members = len(BACKENDS) + (joining is not None) - (leaving is not None)
    has_table = LAYERS[layers][0]
    if layers == "neither":
        share, deviation = 1 - 1 / members, 0.0
    elif (has_table and not takeover) or (leaving, joining) == (None, None):
        return 0.0, 0.0
    elif "modulo" in layers:
        share, deviation = 1 - 1 / members, 0.0
    elif joining is None:
        return 0.0, 0.0
    else:
        share = 1 / members
        deviation = share * sqrt((members - 1) / (POINTS * members + 1))
    return share, 4 * sqrt(deviation**2 + share * (1 - share) / (0.8 * FLOWS))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("layers", LAYERS)
def test_the_share_that_breaks_is_the_expected_one(layers: str, event: str) -> None:
    share, tolerance = expected(layers, event)
    assert abs(broken(layers, event) - share) <= tolerance


def test_after_one_joins_the_old_backend_is_the_first_or_second_replica() -> None:
    """GitHub's GLB relies on this in place of a table."""
    ring = HashRing(BACKENDS)
    begun = {flow: ring.pick(flow) for flow in flows()}
    ring.put(JOINING)
    assert all(backend in ring.replicas(flow, 2) for flow, backend in begun.items())


def rows() -> list[str]:
    lines = [["what happens", *LAYERS], ["---"] * (1 + len(LAYERS))]
    lines += [
        [event, *(f"{100 * broken(layers, event):.1f} %" for layers in LAYERS)] for event in EVENTS
    ]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def test_the_documentation_contains_these_figures() -> None:
    page = Path(__file__).parents[2] / "docs" / "flows.md"
    assert "\n".join(rows()) in page.read_text(encoding="utf-8")


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - the table of the documentation
