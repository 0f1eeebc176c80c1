"""Writes ``docs/validation.md`` from the measured figures."""

from collections.abc import Iterator
from pathlib import Path

from tests.validation.cells import RUNS
from tests.validation.comparisons import CROSSINGS, ORDERS
from tests.validation.measure import (
    ERRORS,
    Found,
    Results,
    crosses,
    crossing_of,
    holds,
    ordered,
    tolerance,
)
from tests.validation.model import REPLICATIONS, Figure
from tests.validation.theory import halfin_whitt

__all__ = ["PAGE", "TABLES", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
HEAD = """\
# Validation

This page compares simulations of `balancers.simulation` with results of queueing theory that are
exact or published. `make validation` simulates every cell, checks it, and writes this page. It
wrote it on {date}, with balancers {version}, CPython {python} and NumPy {numpy}. {held} of {cells}
cells hold, {orders} of {all_orders} orders, and {crossings} of {all_crossings} crossings.

If one of them does not hold, the command exits with 1 and leaves the page as it was. Ten of the
cells run with the tests too, in `tests/validation/test_cells.py`.

## How to read the tables

Every server completes one request per second on average, and requests arrive as a Poisson stream.
So a response time of 2 is twice the time that a request takes on an idle server. *Load* is the
number of requests that arrive per second and server. If nothing else is said, service times are
exponential, servers serve one request at a time in order of arrival, and figures are means of the
response time.

* **expected**: the figure that must come out.
* **source**: *closed form* and *exact chain* are computed by `tests/validation/theory.py`.
  *published* figures have no closed form. They are from papers and from simulations by other
  programs, and have three to five digits. *limit* is a closed form for an unlimited number of
  servers. `tests/validation/test_theory.py` checks the forms and chains against published digits.
* **ours**: the mean of {replications} replications, or of 8 longer ones (*least of all* with T =
  25). Each has its own seed, and no two cells share one: with common random numbers, the
  errors of all cells would have the same sign. The first quarter of each replication is not
  counted, or more of it for *least of all*. All figures are corrected for the known means of
  service times and of the gaps between arrivals (control variates).
* **error**: the difference between ours and expected, in percent of expected.
* **standard error**: of ours, from the replications, in percent of expected.
* **requests**: the number of counted requests, in all replications.
* **tolerance**: {errors} standard errors, or 1 % if this is more. It is 2 % for processor sharing,
  and 3 % for a limit.

A tolerance *by interval* is always {errors} standard errors. No run of a few minutes can hold such
a cell to 1 %, because its queues change too slowly: their standard error is too large. So the
expected figure itself is tested, as a function or against published digits, and the simulation must
agree within its own uncertainty, which the page shows.
"""
TAIL = """
## What these results do not show

* **Not that a real system behaves like this.** The servers are equal, service times have simple
  laws, arrivals do not come in bursts, and the network takes no time. To see what your traffic
  does, use a recorded trace.
* **Nothing about a start, a deployment or an outage.** All figures are of the steady state.
* **Nothing about keys, weights, gates, pools, probes and timeouts.** No closed forms are known for
  them. Other tests compare the loops of the simulation with each other, request by request.
* **No errors that are smaller than the tolerance.** A percentile also has an error of up to 0.2 %,
  because response times are counted in bins.
* **No better figures than the published ones.** Those for 100 servers are simulations too.
* **No join-idle-queue.** Published tables of policies often have it, but this library does not.
"""
TABLES = {
    "supermarket": (
        "Two choices and more",
        """\
A request goes to the least busy of some random servers, out of 100 (the supermarket model of
Vvedenskaya, Dobrushin and Karpelevich, 1996, and Mitzenmacher, 2001). With one choice, every server
is a single queue, M/M/1, and their number does not matter; it is 10, because servers with more
requests come closer to their steady state. The closed form for an unlimited number of servers is
lower than the figures for 100 servers: by 1.2 % with two choices at load 0.9, and by 9 % at load
0.99. An expansion in 1/n (Gast and Van Houdt, 2017) gives the figures for 100 servers to 0.1 % up
to load 0.9.""",
    ),
    "round robin": (
        "Round robin",
        """\
Each server gets every n-th request, so the time between two of its requests is a sum of n
exponential times, and the server is a queue Eₙ/M/1.""",
    ),
    "two servers": (
        "The shorter of two queues",
        """\
With two servers, two choices and least connections both *join the shorter queue*. The exact figure
is the steady state of a Markov chain with unlimited queues.""",
    ),
    "single queue": (
        "One server, by the law of its service times",
        """\
M/G/1 in order of arrival (Pollaczek and Khinchine). The squared coefficients of variation of the
service times are 0, 1 and 4.""",
    ),
    "slots": (
        "One server with several slots",
        """\
M/M/n: the mean response time and the share of requests that waits (Erlang C), and the share that is
refused if there is no queue (Erlang B). With 100 slots and load 1 − β/10, the limit of Halfin and
Whitt (1981) for the share that waits is {half:.4f} for β = 0.5 and {one:.4f} for β = 1.""",
    ),
    "policies": (
        "All policies",
        """\
*One queue* is one server with as many slots as the other systems have servers. No policy can be
better.""",
    ),
    "stale": (
        "Old load information",
        """\
100 servers at load 0.9. The balancer sees the requests in flight of a board that is renewed every
T seconds (Mitzenmacher, How useful is old information?, 2000). *Least of all* picks the least busy
server of the board, with random ties, as in the paper. `LeastConnections` picks tied backends in
turn; its figures are lower, and not published. With a T of 25, thousands of requests meet at the
few servers that were idle on a board. Their queues last so long that the uncertainty is large. With
a T of 50 (published: 387) the mean still depends on the start after 20 000 seconds, so *least of
all* is not simulated with it.""",
    ),
    "sharing": (
        "Processor sharing",
        """\
All requests of a server are served at the same time, each at an equal part of its speed. The mean
response time is then the same for every law of service times. With two choices among many servers
this remains true in the limit (Bramson, Lu and Prabhakar, 2012). The expected figures are those of
100 servers that serve in order of arrival, with exponential service times.""",
    ),
    "storms": (
        "Retry storms",
        """\
Ten servers of load 0.2. Every try fails with a fixed probability p, and a client tries up to four
times. This multiplies the load by (1 − p⁴)/(1 − p).""",
    ),
}
COLUMNS = (
    "| cell | expected | source | ours | error | standard error | requests | tolerance | verdict |"
)


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:#.5g}"


def thousands(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def row(name: str, figure: Figure, found: Found) -> str:
    if figure.expected is None:
        error = f"{found.error / found.value:.2%}"
        cells = ["–", "–", number(found.value), "–", error, thousands(found.requests), "–", "–"]
    else:
        limit = f"{tolerance(figure, found):.1%}" + ("" if figure.share else " by interval")
        cells = [
            number(figure.expected), figure.source, number(found.value),
            f"{found.value / figure.expected - 1:+.2%}", f"{found.error / figure.expected:.2%}",
            thousands(found.requests), limit, verdict(right=holds(figure, found)),
        ]  # fmt: skip
    return f"| {' | '.join([name, *cells])} |".replace("%", " %")


def verdict(*, right: bool) -> str:
    return "holds" if right else "**missed**"


def table(name: str, results: Results) -> Iterator[str]:
    yield COLUMNS
    yield "|---" * (COLUMNS.count("|") - 1) + "|"
    for run in RUNS:
        if run.table == name:
            for cell, figure in zip(run.cells, run.figures, strict=True):
                yield row(cell[1], figure, results[cell])


def orders(results: Results) -> Iterator[str]:
    yield "\n## Orders\n"
    yield (
        "Each figure is less than the next one by more than four standard errors of the difference."
        " From left to right: one queue, least connections, two choices, round robin and random."
    )
    yield "\n| order | ours | verdict |\n|---|---|---|"
    for order in ORDERS:
        found = [number(results[order.table, cell].value) for cell in order.cells]
        sign = " < " if order.factor == 1 else f" < {order.factor} × "
        yield f"| {order.name} | {sign.join(found)} | {verdict(right=ordered(order, results))} |"


def crossings(results: Results) -> Iterator[str]:
    yield "\n### Where old information becomes too old\n"
    yield (
        "A policy is better than another one with the first T, and worse with the second, each by"
        " more than four standard errors. The crossing is interpolated between the figures of the"
        " table.\n"
    )
    yield "| crossing | published T | ours | between | verdict |\n|---|---|---|---|---|"
    for crossing in CROSSINGS:
        low, high = crossing.between
        yield (
            f"| {crossing.name} | {crossing.published} | {crossing_of(crossing, results):.2g}"
            f" | {low:g} and {high:g} | {verdict(right=crosses(crossing, results))} |"
        )


def page(results: Results, **run: str) -> str:
    """Return the page; ``run`` has the date and the versions."""
    held = [
        holds(figure, results[cell])
        for each in RUNS
        for cell, figure in zip(each.cells, each.figures, strict=True)
        if figure.expected is not None
    ]
    right = [ordered(order, results) for order in ORDERS]
    crossed = [crosses(crossing, results) for crossing in CROSSINGS]
    lines = [
        HEAD.format(
            replications=REPLICATIONS, errors=ERRORS, held=sum(held), cells=len(held),
            orders=sum(right), all_orders=len(right), crossings=sum(crossed),
            all_crossings=len(crossed), **run,
        )
    ]  # fmt: skip
    for name, (title, text) in TABLES.items():
        words = text.format(half=halfin_whitt(0.5), one=halfin_whitt(1))
        lines += [f"\n## {title}\n", f"{words}\n", *table(name, results)]
        if name == "policies":
            lines += orders(results)
        if name == "stale":
            lines += crossings(results)
    return "\n".join([*lines, TAIL])
