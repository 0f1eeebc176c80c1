"""Prints the figures of the pages about subsetting, and compares them with theory.

    python -m tests.subsetting.figures    or    make subsetting

Each line has what was measured, the value, and the range that it must be in.  The exit code is 1 if
a value is outside its range, or if a table of the pages does not have it.  It takes 20 s.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, pstdev

from balancers.subsetting import rendezvous_subset
from tests.subsetting.measures import (
    SUBSETS,
    Subset,
    Subsets,
    aperture,
    book,
    changed,
    counts,
    deterministic,
    loads,
    names,
    rendezvous,
    ringsteady,
)

__all__ = ["PAGE", "Figure", "churn_figures", "even_table", "exact", "main", "random_sizes"]

PAGE = Path(__file__).parents[2] / "docs" / "subsetting" / "index.md"
RUNS = 6
"""How often the random subsets are drawn; the theory's ranges are of single draws."""


@dataclass(frozen=True)
class Figure:
    """A measured value, and the range that it must be in."""

    what: str
    value: float
    least: float
    most: float

    @property
    def met(self) -> bool:
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        verdict = "ok" if self.met else "MISSED"
        return f"{self.what:<66} {self.value:9.4g} in {self.least:g} to {self.most:g}: {verdict}"


def extremes(
    what: str, subsets: Subsets, sizes: tuple[int, int, int], least: int, most: int
) -> Iterator[Figure]:
    """The least and the greatest number of balancers that a backend has."""
    backends, balancers, size = sizes
    servers = names(backends)
    found = counts(subsets(servers, balancers, size), servers)
    title = f"{what}, {balancers} balancers, {backends} backends, {size} each"
    yield Figure(f"{title}: least", found[0], least, most)
    yield Figure(f"{title}: most", found[-1], least, most)


def exact() -> Iterator[Figure]:
    """What theory says exactly, or as a range."""
    yield from extremes("deterministic", deterministic, (300, 300, 10), 10, 10)
    yield from extremes("deterministic", deterministic, (12, 10, 3), 2, 3)
    yield from extremes("deterministic", deterministic, (305, 300, 10), 8, 10)
    yield from extremes("ringsteady", ringsteady, (300, 300, 10), 10, 10)
    yield from extremes("ringsteady", ringsteady, (100, 64, 20), 12, 14)
    yield from extremes("ringsteady", ringsteady, (37, 53, 5), 6, 8)
    for balancers, backends in ((3, 4), (10, 100), (100, 10), (7, 13), (50, 60), (1000, 20)):
        shares = loads(aperture(names(backends), balancers, 12), balancers)
        worst = max(abs(share * backends - 1) for share in shares.values())
        title = f"aperture, {balancers} balancers, {backends} backends: exact relative error"
        yield Figure(title, float(worst), 0, 0)


def random_sizes(runs: int = RUNS) -> Iterator[Figure]:
    """The extremes of random subsets: 300 balancers and 300 backends."""
    servers = names(300)
    draws = [rendezvous(servers, 300, 225, f"draw{draw}") for draw in range(runs)]
    for size, low, high in ((90, 68, 113), (30, 15.8, 46.1), (225, 203, 247)):
        found = [counts([first(subset, size) for subset in draw], servers) for draw in draws]
        title = f"rendezvous, 300 balancers, 300 backends, {size} each, {runs} runs: mean"
        yield Figure(f"{title} least", fmean(one[0] for one in found), low - 8, low + 8)
        yield Figure(f"{title} most", fmean(one[-1] for one in found), high - 8, high + 8)


def first(subset: Subset, size: int) -> Subset:
    """A smaller subset is the beginning of a larger one."""
    return {backend: subset[backend] for backend in list(subset)[:size]}


def binomial(balancers: int = 5000, backends: int = 1000) -> Iterator[Figure]:
    """The mean and the deviation of the balancers per backend, beside a binomial distribution."""
    servers = names(backends)
    found: dict[int, dict[str, int]] = {size: dict.fromkeys(servers, 0) for size in (1, 10, 100)}
    for number in range(balancers):
        order = list(rendezvous_subset(servers, name=f"edge-{number}", size=100))
        for size, count in found.items():
            for backend in order[:size]:
                count[backend] += 1
    for size, count in found.items():
        mean = balancers * size / backends
        deviation = sqrt(mean * (1 - size / backends))
        margin = 4 / sqrt(2 * backends)  # four standard deviations of a deviation
        title = f"rendezvous, {balancers} balancers, {backends} backends, {size} each"
        yield Figure(f"{title}: mean", fmean(count.values()), mean, mean)
        yield Figure(
            f"{title}: deviation",
            pstdev(count.values()),
            deviation * (1 - margin),
            deviation * (1 + margin),
        )


def churn(subsets: Subsets, before: tuple[int, int], after: tuple[int, int]) -> float:
    """The part of the connections that is new, from numbers of backends and of balancers."""
    (n, m), (new_n, new_m) = before, after
    kept = min(m, new_m)
    return changed(subsets(names(n), m, 10)[:kept], subsets(names(new_n), new_m, 10)[:kept])


CHURN = {
    "one backend joins 300": ((300, 300), (301, 300)),
    "one backend leaves 300": ((300, 300), (299, 300)),
    "one balancer joins 300": ((300, 300), (300, 301)),
    "one balancer leaves 300": ((300, 300), (300, 299)),
}
METHODS = {**SUBSETS, "the book with a shuffle of Python": book}


def churn_table() -> list[str]:
    """The rows of the table of changes."""
    rows = ["| method | " + " | ".join(CHURN) + " |"]
    for name, subsets in METHODS.items():
        parts = [f"{churn(subsets, *change):.2%}".replace("%", " %") for change in CHURN.values()]
        rows.append(f"| {name} | " + " | ".join(parts) + " |")
    return rows


EVEN = ((300, 300, 10), (305, 300, 10), (100, 64, 12))
"""Numbers of backends, numbers of balancers, and sizes."""


def even_table() -> list[str]:
    """The rows of the table of evenness: the least and most balancers of a backend."""
    heads = [f"{m} balancers, {n} backends, {size} each" for n, m, size in EVEN]
    rows = ["| method | " + " | ".join(heads) + " |"]
    for name, subsets in SUBSETS.items():
        found = [counts(subsets(names(n), m, size), names(n)) for n, m, size in EVEN]
        rows.append(f"| {name} | " + " | ".join(f"{c[0]} to {c[-1]}" for c in found) + " |")
    return rows


def churn_figures() -> Iterator[Figure]:
    joins, leaves = CHURN["one backend joins 300"], CHURN["one backend leaves 300"]
    yield Figure("ringsteady, one joins: replaced", churn(ringsteady, *joins), 0, 1.5 / 301)
    yield Figure("ringsteady, one leaves: replaced", churn(ringsteady, *leaves), 0, 1.5 / 299)
    yield Figure("rendezvous, one joins: replaced", churn(rendezvous, *joins), 0, 1.5 / 301)
    yield Figure("rendezvous, one leaves: replaced", churn(rendezvous, *leaves), 0, 1.5 / 299)
    yield Figure("shuffle of Python, one joins: replaced", churn(book, *joins), 0.3, 0.5)
    yield Figure("shuffle of Python, one leaves: replaced", churn(book, *leaves), 0.9, 1)


def main() -> int:
    missed = 0
    for figures in (exact(), random_sizes(), binomial(), churn_figures()):
        for figure in figures:
            sys.stdout.write(f"{figure}\n")
            missed += not figure.met
    page = re.sub(r" +", " ", PAGE.read_text(encoding="utf-8"))
    for row in [*even_table(), *churn_table()]:
        found = row in page
        sys.stdout.write(f"{row}{'' if found else '  NOT ON THE PAGE'}\n")
        missed += not found
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
