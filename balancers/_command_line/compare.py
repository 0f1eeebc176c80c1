"""Simulates policies side by side, each with the same requests."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from balancers._command_line.bad_input import BadInput
from balancers._command_line.building import converted_settings
from balancers._command_line.laws import arrivals_law, key_law, service_law
from balancers._command_line.methods import POLICIES, Choice, parse_choices
from balancers._command_line.numbers import whole_number
from balancers._command_line.output import Report, percent, table
from balancers._command_line.servers import Server, read_servers
from balancers.errors import NotSteady
from balancers.hashing import BoundedLoad, HashRing
from balancers.simulation import Interval, Replications, replicate
from balancers.simulation import Server as SimulatedServer

__all__ = ["run"]

_MOST_SERVERS = 10_000
_PERCENTILES = (50.0, 99.0, 99.9)
_EQUAL = "round_robin,random,two_choices,least_connections"
_WEIGHTED = "weighted_round_robin,random,two_choices,weighted_least_connections"


class _Row:
    """What one policy did: the figures of its runs."""

    def __init__(self, choice: Choice, runs: Replications) -> None:
        self.choice = choice
        self.runs = runs
        self.reason = ""
        """Why there are no response times, or an empty text."""
        self.intervals: dict[str, Interval] = {}
        try:
            self.intervals["mean"] = runs.interval()
            for q in _PERCENTILES:
                self.intervals[f"p{q:g}"] = runs.percentile(q)
        except NotSteady:
            self.intervals = {}
            self.reason = runs.unsteady or "too few requests were answered"

    @property
    def failed(self) -> float:
        """The share of the counted requests that failed."""
        runs = self.runs.simulations
        return sum(each.failed for each in runs) / sum(each.requests for each in runs)

    @property
    def hottest(self) -> tuple[str, float]:
        """The server with the highest mean utilisation."""
        runs = self.runs.simulations
        means: dict[str, float] = {
            name: sum(each.servers[name].utilisation for each in runs) / len(runs)
            for name in runs[0].servers
        }
        name = max(means, key=means.__getitem__)
        return name, means[name]


def run(options: Namespace) -> Report:
    """Return what each policy does.  Raises BadInput, and the errors of balancers."""
    servers = _servers(options.servers)
    weights = {server.name: server.weight for server in servers}
    total = float(sum(weights.values()))
    if not total:
        raise BadInput("--servers: at least one weight must be above 0")
    rate = options.rate or options.load * total / options.mean
    if not rate:
        raise BadInput(f"--load {options.load:g}: the sum of the weights, {total:g}, is too small")
    load = rate * options.mean / total
    if load >= 1:
        raise BadInput(
            f"--rate {rate:g}: the load is {load:.4g}, and from 1 on the queues grow without end"
        )
    policies = options.policies
    if policies is None:
        policies = _EQUAL if len({*weights.values()} - {0}) == 1 else _WEIGHTED
    choices = parse_choices(policies, POLICIES)
    simulated = {
        server.name: SimulatedServer(speed=float(server.weight) or 1.0) for server in servers
    }
    service = service_law(options.service, options.mean)
    arrivals, keys = arrivals_law(options.arrivals, rate), key_law(options.keys)
    first = options.seed * options.runs
    makers = [_maker(choice, weights) for choice in choices]
    rows = [
        _Row(
            choice,
            replicate(
                make,
                arrivals,
                service,
                seeds=range(first, first + options.runs),
                requests=options.requests,
                servers=simulated,
                keys=keys if keyed else None,
                timeout=options.timeout,
            ),
        )
        for choice, (make, keyed) in zip(choices, makers, strict=True)
    ]
    summary = (
        f"{len(servers)} server{'s' * (len(servers) > 1)}, load {load:.4g}, {rate:.4g} requests/s, "
        f"{options.service} work of {options.mean:g} s, "
        f"{options.runs} runs of {options.requests} requests"
    )
    data = {
        "command": "compare",
        "servers": weights,
        "load": load,
        "rate": rate,
        "service": options.service,
        "mean": options.mean,
        "arrivals": options.arrivals,
        "keys": options.keys if any(keyed for _, keyed in makers) else None,
        "timeout": options.timeout,
        "requests": options.requests,
        "runs": options.runs,
        "seed": options.seed,
        "policies": [_row_data(row) for row in rows],
    }
    return Report(f"{summary}\n\n{_table(rows)}", data, partial(_draw, rows=rows))


def _servers(text: str) -> list[Server]:
    """Return the servers of an argument, which may also be their number."""
    count = whole_number(text.strip())
    if count is None:
        return read_servers(text)
    if not 1 <= count <= _MOST_SERVERS:
        raise BadInput(f"--servers must be 1 to {_MOST_SERVERS} or a list, not {text}")
    return [Server(f"s{number}") for number in range(1, count + 1)]


def _maker(choice: Choice, weights: Mapping[str, float]) -> tuple[Callable[..., Any], bool]:
    """Return a function that constructs the balancer of a policy, and whether it picks by key."""
    policy, settings = POLICIES[choice.name], converted_settings(choice, POLICIES)
    if choice.name == "bounded_load":
        make: Callable[..., Any] = partial(_bounded, weights, settings)
        make()
        return make, True
    if choice.name == "anchor":
        settings.setdefault("capacity", 2 * len(weights))
    kind = getattr(import_module(f"balancers.{policy.module}"), policy.kind)
    return partial(kind, weights, **settings), bool(kind.keyed)


def _bounded(weights: Mapping[str, float], settings: Mapping[str, Any]) -> BoundedLoad[str]:
    return BoundedLoad(HashRing(weights), **settings)


def _row_data(row: _Row) -> dict[str, Any]:
    name, utilisation = row.hottest
    runs = row.runs.simulations
    response = {
        measure: {"value": interval.mean, "low": interval.low, "high": interval.high}
        for measure, interval in row.intervals.items()
    }
    return {
        "policy": row.choice.name,
        "settings": row.choice.settings,
        "steady": row.runs.steady,
        "reason": row.reason or None,
        "response": response or None,
        "requests": sum(each.requests for each in runs),
        "failed": sum(each.failed for each in runs),
        "hottest": {"server": name, "utilisation": utilisation},
        "engine": runs[0].engine,
    }


def _table(rows: Sequence[_Row]) -> str:
    """Return the table, and below it why a policy has no response times."""
    measures = ["mean", *(f"p{q:g}" for q in _PERCENTILES)]
    cells = list[tuple[str, ...]]()
    for row in rows:
        times = ["-"] * len(measures)
        if row.intervals:
            times = [f"{row.intervals[measure].mean:#.4g}" for measure in measures]
        width = f"±{row.intervals['mean'].half_width:#.2g}" if row.intervals else ""
        name, utilisation = row.hottest
        failed, busy = percent(row.failed), percent(utilisation, 1)
        cells.append((row.choice.text, times[0], width, *times[1:], failed, busy, name))
    titles = (*("policy", "mean", ""), *measures[1:], *("failed", "hottest", ""))
    notes = [f"{row.choice.text}: no response times: {row.reason}" for row in rows if row.reason]
    units = "response times in seconds, with the 95 % interval of the mean"
    return "\n".join([table(titles, cells, last_texts=1), "", units, *notes])


def _draw(axes: Any, rows: Sequence[_Row]) -> None:
    from balancers.quality.plots import latency_curves  # noqa: PLC0415 - needs matplotlib

    answered = {row.choice.text: row.runs.response for row in rows if row.intervals}
    latency_curves(answered, ax=axes)
