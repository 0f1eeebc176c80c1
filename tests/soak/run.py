"""Runs one site for a number of operations, checks it at intervals, and measures its memory."""

from dataclasses import dataclass, fields

from tests.kinds import Kind
from tests.soak.memory import LEFT_OVER, blocks, holder, left_over, others_frozen
from tests.soak.site import Site

__all__ = ["BLOCKS", "MEGABYTES", "Report", "soak"]

CHECKS, RESTS = 40, 8
"""How often a site is checked, at least, and how often it comes to rest, at least."""
CHECK_AFTER, REST_AFTER = 2000, 20_000
"""The most operations without a check, and without a rest."""
BLOCKS = 3000
"""How many more blocks of memory a site may use at a rest than it used at its first rests."""
MEGABYTES = 16
"""How much more memory the process may use than after the first site."""
WARM_UP = 4
"""The first of so many parts of a run is the warm-up."""


@dataclass(frozen=True)
class Report:
    """What a run did, and the most that was left over at its rests."""

    operations: int = 0
    requests: int = 0
    refused: int = 0
    backends: int = 0
    faults: int = 0
    checks: int = 0
    left_over: int = 0
    growth: int = 0
    """How many more blocks of memory were used at a rest than during the warm-up."""

    def __add__(self, other: "Report") -> "Report":
        """Add the counts, and return the greater of what was left over."""
        both = {
            each.name: (getattr(self, each.name), getattr(other, each.name))
            for each in fields(self)
        }
        most = {name: max(both.pop(name)) for name in ("left_over", "growth")}
        return Report(**{name: sum(pair) for name, pair in both.items()}, **most)

    def __str__(self) -> str:
        """Show the counts in one line."""
        return (
            f"{self.operations:>10,} operations, {self.requests:>9,} requests, "
            f"{self.refused:>9,} refused, {self.backends:>9,} backends, {self.faults:>7,} faults, "
            f"{self.checks:>6,} checks, {self.left_over} names left over, {self.growth:+,} blocks"
        )


def soak(kind: Kind, operations: int, seed: int) -> Report:
    """Run one site.  Raises AssertionError for an invariant that does not hold."""
    with others_frozen():
        return run(kind, operations, seed)


def run(kind: Kind, operations: int, seed: int) -> Report:
    site = Site(kind, seed)
    check_after = max(1, min(CHECK_AFTER, operations // CHECKS))
    rest_after = max(1, min(REST_AFTER, operations // RESTS))
    warm, growth, most_left = 0, 0, 0
    checks = 0
    while site.operations < operations:
        before = site.operations
        try:
            site.run(min(check_after, operations - before))
            site.check()
            checks += 1
            if before // rest_after == site.operations // rest_after < operations // rest_after:
                continue
            site.rest()
        except AssertionError as error:
            place = f"operation {before} to {before + check_after}"
            raise AssertionError(f"{place}: {error}") from error
        left = left_over(site)
        most_left = max(most_left, len(left))
        used = blocks()
        if site.operations * WARM_UP <= operations:
            warm = max(warm, used)
        growth = max(growth, used - warm)
        where = {holder(name) for name in left[:5]} if len(left) > LEFT_OVER else ""
        assert len(left) <= LEFT_OVER, f"{len(left)} names are left over, for example in {where}"
        assert growth <= BLOCKS, f"memory has grown by {growth} blocks"
    return Report(
        operations=site.operations,
        requests=site.requests,
        refused=sum(site.refusals.values()),
        backends=site.joined,
        faults=site.done["faults"],
        checks=checks,
        left_over=most_left,
        growth=growth,
    )
