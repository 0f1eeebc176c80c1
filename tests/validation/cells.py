"""The cells of ``docs/validation.md``.

Every server completes one request per second on average, so times are in mean service times.
"Load" is the arrival rate per server.
"""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from balancers import LeastConnections, PowerOfTwoChoices, RandomChoice, RoundRobin
from balancers.balancer import Balancer
from balancers.simulation import (
    Constant,
    Errors,
    Exponential,
    HyperExponential,
    Retries,
    Server,
    Service,
    Stale,
)
from tests.validation import theory
from tests.validation.model import REPLICATIONS, Figure, Make, Run
from tests.validation.published import POLICIES, STALE, SUPERMARKET
from tests.validation.random_ties import RandomTies

__all__ = ["FLEET", "LOAD", "MEASURES", "RUNS", "stale_name"]

FLEET = 100
LOAD, HEAVY = 0.9, 0.99
FORM, CHAIN, COLUMN, LIMIT = "closed form", "exact chain", "published", "limit"
BY_INTERVAL = 0.0
MEASURES = ("mean", "p99", "p99.9")
LAWS: dict[str, tuple[Service, float]] = {
    "constant": (Constant(1.0), 0),
    "exponential": (Exponential(1.0), 1),
    "hyperexponential": (HyperExponential(1.0, 4.0), 4),
}
"""The laws of service, each with the square of its coefficient of variation."""


def share(load: float) -> float:
    """Return the tolerance: with such a load, no honest run has a small enough standard error."""
    return BY_INTERVAL if load >= HEAVY else 0.01


def choices_of(servers: int, choices: int) -> Make:
    return partial(PowerOfTwoChoices, range(servers), choices=choices)


# servers with one slot, fresh counts


def supermarket() -> Iterator[Run]:
    for load in SUPERMARKET[2]:
        mean = theory.processor_sharing(load)
        figures = [Figure(mean, FORM, share=share(load))]
        if load == LOAD:
            figures += [
                Figure(theory.exponential_percentile(50, mean), FORM, "p50"),
                Figure(theory.exponential_percentile(99, mean), FORM, "p99"),
            ]
        requests = 3_000_000 if load >= HEAVY else 2_000_000
        yield Run(
            "supermarket", f"1 choice, load {load}", partial(RandomChoice, range(10)), 10 * load,
            requests, tuple(figures),
        )  # fmt: skip
        for choices, column in SUPERMARKET.items():
            requests = 400_000 if load >= HEAVY else 120_000
            yield Run(
                "supermarket", f"{choices} choices, load {load}", choices_of(FLEET, choices),
                FLEET * load, requests, (Figure(column[load], COLUMN, share=share(load)),),
            )  # fmt: skip


def round_robin() -> Iterator[Run]:
    for servers in (10, FLEET):
        for load in (0.7, 0.9, 0.95):
            yield Run(
                "round robin", f"{servers} servers, load {load}",
                partial(RoundRobin, range(servers)), servers * load, 1_000_000,
                (Figure(theory.round_robin(load, servers), FORM),),
            )  # fmt: skip


def two_servers() -> Iterator[Run]:
    makers: dict[str, Make] = {
        "least connections": partial(LeastConnections, range(2)),
        "2 choices": choices_of(2, 2),
    }
    for name, make in makers.items():
        for load in (0.5, 0.7, 0.8, 0.9):
            tolerance = BY_INTERVAL if load == LOAD else 0.01
            figure = Figure(theory.two_servers(load), CHAIN, share=tolerance)
            yield Run("two servers", f"{name}, load {load}", make, 2 * load, 200_000, (figure,))


def single_queue() -> Iterator[Run]:
    for name, (service, variation) in LAWS.items():
        figure = Figure(theory.single_queue(0.8, variation), FORM)
        yield Run(
            "single queue", f"{name} service, load 0.8", partial(RoundRobin, [0]), 0.8, 1_000_000,
            (figure,), service=service,
        )  # fmt: skip


# servers with several slots


def slots() -> Iterator[Run]:
    make = partial(RoundRobin, [0])
    for count, load in [(2, 0.5), (3, 0.7), (5, 0.8), (10, 0.9), (100, 0.99)]:
        figure = Figure(theory.many_slots(count, load), FORM, share=share(load))
        yield Run(
            "slots", f"{count} slots, load {load}", make, count * load, 100_000, (figure,),
            options={"servers": Server(slots=count)},
        )  # fmt: skip
    for beta in (0.5, 1.0):
        load = 1 - beta / 10
        figure = Figure(theory.erlang_c(100, load), FORM, "waiting share", share=BY_INTERVAL)
        yield Run(
            "slots", f"100 slots, load {load:g}", make, 100 * load, 100_000, (figure,),
            options={"servers": Server(slots=100), "keep": True},
        )  # fmt: skip
    for count, load in [(2, 0.5), (10, 0.9)]:
        figure = Figure(theory.erlang_b(count, count * load), FORM, "refused share")
        yield Run(
            "slots", f"{count} slots and no queue, load {load}", make, count * load, 60_000,
            (figure,), options={"servers": Server(slots=count, room=count)},
        )  # fmt: skip


# all policies


def policies() -> Iterator[Run]:
    for (servers, load), published in POLICIES.items():
        makers: dict[str, tuple[Make, int]] = {
            "one queue": (partial(RoundRobin, [0]), 120_000),
            "least connections": (partial(LeastConnections, range(servers)), 200_000),
            "2 choices": (choices_of(servers, 2), 200_000),
            "round robin": (partial(RoundRobin, range(servers)), 2_000_000),
            "random": (partial(RandomChoice, range(servers)), 2_000_000),
        }
        known = {name: by_measure(*figures) for name, figures in published.items()}
        if load == LOAD:
            known["one queue"] = one_queue(servers, load)
            known["round robin"] = exponential(theory.round_robin(load, servers))
            known["random"] = exponential(theory.processor_sharing(load))
        if servers == FLEET:
            limit = theory.supermarket_percentile(99.9, load, 2)
            known["2 choices"] += (Figure(limit, LIMIT, "p99.9", share=0.03),)
            known["least connections"] += (Figure(None, "", "p99.9"),)
        for name, (make, requests) in makers.items():
            if name in known:
                yield Run(
                    "policies", f"{name}, {servers} servers, load {load}", make, servers * load,
                    requests, known[name],
                    options={"servers": Server(slots=servers)} if name == "one queue" else {},
                )  # fmt: skip


def by_measure(*values: float, source: str = COLUMN) -> tuple[Figure, ...]:
    return tuple(
        Figure(value, source, measure) for measure, value in zip(MEASURES, values, strict=False)
    )


def exponential(mean: float) -> tuple[Figure, ...]:
    """Return the figures of an exponential response time."""
    percentiles = [theory.exponential_percentile(percent, mean) for percent in (99, 99.9)]
    return by_measure(mean, *percentiles, source=FORM)


def one_queue(servers: int, load: float) -> tuple[Figure, ...]:
    percentiles = [theory.many_slots_percentile(percent, servers, load) for percent in (99, 99.9)]
    return by_measure(theory.many_slots(servers, load), *percentiles, source=FORM)


# old counts

HERD: dict[float, tuple[int, float, int]] = {
    5: (100_000, 0.25, 16), 10: (200_000, 0.4, 16), 25: (500_000, 0.5, 8),
}  # fmt: skip
"""For "least of all" by the time between two boards: requests of a replication, the share of them
that is not counted, and replications.  The queues of a herd take thousands of seconds to end."""


def stale(policy: str, every: float, rng: Random) -> Balancer[int]:
    """Return a policy for 100 servers whose counts are those of the last board."""
    fresh: dict[str, Callable[[], Balancer[int]]] = {
        "2 choices": lambda: PowerOfTwoChoices(range(FLEET), rng=rng),
        "3 choices": lambda: PowerOfTwoChoices(range(FLEET), rng=rng, choices=3),
        "least of all": lambda: RandomTies(range(FLEET), rng=rng),
        "least connections": lambda: LeastConnections(range(FLEET)),
    }
    return Stale(fresh[policy](), every)


def boards() -> Iterator[Run]:
    for policy, column in STALE.items():
        for every, published in column.items():
            herd = policy == "least of all" and every >= 10
            if herd and every > max(HERD):
                continue  # after 20 000 seconds the mean still depends on the start
            figure = Figure(published, COLUMN, share=BY_INTERVAL if herd else 0.01)
            yield board(policy, every, figure)
    for every in (0.1, 0.5, 1):
        yield board("least connections", every, Figure(None, ""))


def board(policy: str, every: float, figure: Figure) -> Run:
    requests, warm_up, replications = 60_000 if every < 25 else 150_000, 0.25, REPLICATIONS
    if policy == "least of all" and every in HERD:
        requests, warm_up, replications = HERD[every]
    return Run(
        "stale", stale_name(policy, every), partial(stale, policy, every), FLEET * LOAD, requests,
        (figure,), options={"warm_up": warm_up}, replications=replications,
    )  # fmt: skip


def stale_name(policy: str, every: float) -> str:
    return f"{policy}, T = {every}"


# processor sharing


def sharing() -> Iterator[Run]:
    shared = {"servers": Server(discipline="shared")}
    for load in (0.5, 0.8):
        for name, (service, _) in LAWS.items():
            figure = Figure(theory.processor_sharing(load), FORM, share=0.02)
            yield Run(
                "sharing", f"1 server, {name} service, load {load}", partial(RoundRobin, [0]), load,
                50_000, (figure,), service=service, options=shared,
            )  # fmt: skip
    for load in (0.5, 0.7):
        for name, (service, _) in LAWS.items():
            figure = Figure(SUPERMARKET[2][load], COLUMN, share=0.02)
            yield Run(
                "sharing", f"2 choices, {name} service, load {load}", choices_of(FLEET, 2),
                FLEET * load, 30_000, (figure,), service=service, options=shared,
            )  # fmt: skip


# retries


def storms() -> Iterator[Run]:
    """Ten servers with a low load; every try fails with some probability."""
    for failing in (0.5, 0.9):
        figures = (
            Figure(theory.retry_load(failing, 3), FORM, "tries"),
            Figure(0.2 * theory.retry_load(failing, 3), FORM, "utilisation"),
        )
        yield Run(
            "storms", f"p = {failing}", partial(RoundRobin, range(10)), 2.0,
            25_000, figures, options=storm(failing, Retries(tries=4)),
        )  # fmt: skip


def storm(failing: float, retries: Retries) -> dict[str, object]:
    faults = [Errors(backend, 0.0, 2.0**21, failing) for backend in range(10)]
    return {"faults": faults, "retries": retries}


RUNS = [
    *supermarket(), *round_robin(), *two_servers(), *slots(), *policies(), *boards(), *sharing(),
    *single_queue(), *storms(),
]  # fmt: skip
