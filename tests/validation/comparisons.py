"""What ``docs/validation.md`` states about several cells: orders of policies, and crossings."""

from tests.validation import theory
from tests.validation.cells import FLEET, LOAD, MEASURES, stale_name
from tests.validation.model import Crossing, Order, cell
from tests.validation.published import STALE

__all__ = ["CROSSINGS", "ORDERS"]

ORDERS = [
    Order(
        f"{servers} servers, {measure}", "policies",
        tuple(
            cell(f"{name}, {servers} servers, load 0.9", measure)
            for name in ("one queue", "least connections", "2 choices", "round robin", "random")
        ),
    )
    for servers in (10, FLEET)
    for measure in MEASURES
] + [
    Order(
        f"ties in turn against random ties, T = {every}", "stale",
        (stale_name("least connections", every), stale_name("least of all", every)), factor=0.87,
    )
    for every in (0.1, 0.5, 1)
]  # fmt: skip


def crossing(policy: str, other: str, published: str, between: tuple[float, float]) -> Crossing:
    become = "become" if policy.endswith("choices") else "becomes"
    return Crossing(
        f"{policy} {become} worse than {other}",
        {every: stale_name(policy, every) for every in STALE[policy]},
        {every: stale_name(other, every) for every in STALE.get(other, ())},
        published,
        between,
        constant=theory.processor_sharing(LOAD),
    )


CROSSINGS = [
    crossing("least of all", "2 choices", "0.5", (0.1, 1)),
    crossing("least of all", "random", "4 to 5", (2, 5)),
    crossing("3 choices", "2 choices", "2 to 5", (2, 5)),
    crossing("2 choices", "random", "35", (25, 50)),
]
