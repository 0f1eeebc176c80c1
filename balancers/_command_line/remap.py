"""Plans a change of servers: which part of the keys moves, and to which servers."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from balancers._command_line.building import KeyedMethod, Lookup
from balancers._command_line.keys import random_keys, read_keys
from balancers._command_line.methods import parse_choice, parse_choices
from balancers._command_line.output import Report, percent, table
from balancers._command_line.servers import Server, read_servers
from balancers.balancer import Balancer
from balancers.quality import Remap, distribution, remap

__all__ = ["run"]

_RANDOM = 100_000
_ALL = "in all"
_MOST_MOVES = 1000
"""The largest number of pairs of servers in the JSON document."""


class _Stage(NamedTuple):
    """Contains the servers before or after a change, and the balancer with them."""

    method: KeyedMethod
    weights: dict[str, float]
    balancer: Balancer[str]


class _Step(NamedTuple):
    """Contains one change of one method."""

    name: str
    """The number of the step, or ``_ALL``."""
    before: _Stage
    after: _Stage
    moved: Remap[str]


def run(options: Namespace) -> Report:
    """Return what moves, for each method and step.  Raises BadInput, and what balancers raise."""
    methods = [KeyedMethod(choice) for choice in parse_choices(options.methods)]
    new = KeyedMethod(parse_choice(options.new_method)) if options.new_method is not None else None
    everyone = [*methods, new] if new else methods
    if options.keys is not None:
        keys = read_keys(options.keys)
    else:
        addresses = any(method.addresses for method in everyone)
        keys = random_keys(options.random or _RANDOM, options.seed, addresses=addresses)
    texts = [options.before, *options.after]
    plans = [[*_steps([*_stages(method, new or method, texts)], keys)] for method in methods]
    data = {
        "command": "remap",
        "keys": len(keys),
        "methods": [
            _method_data(method, new, steps) for method, steps in zip(methods, plans, strict=True)
        ],
    }
    text = _summary(plans)
    if len(methods) == 1 and len(plans[0]) == 1:
        text += f"\n\n{_servers_table(plans[0][0])}"
    return Report(f"{text}\n{len(keys)} keys", data, partial(_draw, plans=plans))


def _stages(method: KeyedMethod, new: KeyedMethod, texts: Sequence[str]) -> Iterator[_Stage]:
    """Yield the balancers before the first change and after each change."""
    lists = [
        read_servers(text, (new if place else method).program) for place, text in enumerate(texts)
    ]
    capacity = 2 * len({server.name for servers in lists for server in servers})
    balancer: Balancer[str] | None = None
    previous = method
    for place, servers in enumerate(lists):
        current = new if place else method
        if balancer is None or current is not previous or current.program:
            balancer = current.balancer(servers, capacity)
        else:
            balancer = deepcopy(balancer)
            _update(balancer, servers)
        yield _Stage(current, current.fair(servers), balancer)
        previous = current


def _update(balancer: Balancer[str], servers: Sequence[Server]) -> None:
    """Change the members.  Those that leave do so first, the last one first, as Jump needs it."""
    names = {server.name for server in servers}
    for name in [*balancer.weights][::-1]:
        if name not in names:
            balancer.discard(name)
    for server in servers:
        balancer.put(server.name, server.weight)


def _steps(stages: Sequence[_Stage], keys: Sequence[bytes]) -> Iterator[_Step]:
    """Yield each step, and all of them together if there are several."""
    pairs = [
        (str(place), before, after) for place, (before, after) in enumerate(pairwise(stages), 1)
    ]
    if len(pairs) > 1:
        pairs.append((_ALL, stages[0], stages[-1]))
    for name, before, after in pairs:
        old, new = (
            Lookup(stage.method, stage.balancer, stage.weights) for stage in (before, after)
        )
        yield _Step(name, before, after, remap(old, new, keys=keys))


def _method_data(
    method: KeyedMethod, new: KeyedMethod | None, steps: Sequence[_Step]
) -> dict[str, Any]:
    return {
        "method": method.choice.name,
        "settings": method.choice.settings,
        "new_method": None if new is None else new.choice.name,
        "new_settings": None if new is None else new.choice.settings,
        "steps": [_step_data(step) for step in steps if step.name != _ALL],
        "total": _step_data(steps[-1]),
    }


def _step_data(step: _Step) -> dict[str, Any]:
    moved, hottest = step.moved, _hottest(step)
    return {
        "moved": moved.moved,
        "fraction": moved.fraction,
        "unavoidable": moved.unavoidable,
        "exchanged": moved.exchanged,
        "hottest": {"server": hottest[0], "ratio": hottest[1]},
        "servers": [
            dict(zip(("server", "before", "lost", "gained", "after", "growth"), row, strict=True))
            for row in _rows(step)
        ],
        "moves": [
            {"source": move.source, "target": move.target, "keys": move.hashes}
            for move in moved.moves(_MOST_MOVES)
        ],
    }


def _rows(step: _Step) -> Iterator[tuple[str, int, int, int, int, float | None]]:
    """Yield the numbers of keys of each server.  The last one is the growth, if it is finite."""
    moved = step.moved
    columns = [each.tolist() for each in (moved.before, moved.lost, moved.gained, moved.after)]
    for name, before, lost, gained, after in zip(moved.members, *columns, strict=True):
        yield name, before, lost, gained, after, after / before if before else None


def _hottest(step: _Step) -> tuple[str, float]:
    """Return the server that has the most keys for its weight, and how often its fair share."""
    counts = dict(zip(step.moved.members, step.moved.after.tolist(), strict=True))
    ratios = distribution(
        {name: counts[name] for name in step.after.weights}, step.after.weights
    ).ratios
    name = max(ratios, key=ratios.__getitem__)
    return name, ratios[name]


def _summary(plans: Sequence[Sequence[_Step]]) -> str:
    rows = list[tuple[str, ...]]()
    for step in (step for steps in plans for step in steps):
        moved, hottest = step.moved, _hottest(step)
        rows.append(
            (
                _label(step),
                step.name,
                percent(moved.fraction),
                percent(moved.unavoidable),
                percent(moved.exchanged),
                f"{hottest[0]} {hottest[1]:.2f}x",
                _receiver(moved),
            )
        )
    titles = ("method", "step", "moved", "unavoidable", "exchanged", "hottest", "grows most")
    return table(titles, rows, texts=2, last_texts=2)


def _label(step: _Step) -> str:
    before, after = step.before.method.choice.text, step.after.method.choice.text
    return before if before == after else f"{before} to {after}"


def _receiver(moved: Remap[str]) -> str:
    if not moved.receivers:
        return "-"
    receiver = moved.receivers[0]
    return f"{receiver.backend} {f'{receiver.growth:.2f}x' if receiver.before else 'new'}"


def _servers_table(step: _Step) -> str:
    rows = [
        (name, *map(str, numbers), "-" if growth is None else f"{growth:.2f}")
        for name, *numbers, growth in _rows(step)
    ]
    return table(("server", "before", "lost", "gained", "after", "growth"), rows)


def _draw(axes: Any, plans: Sequence[Sequence[_Step]]) -> None:
    """Draw the map of a single change, or the moved parts of all methods and steps as bars."""
    from balancers.quality.plots import (  # noqa: PLC0415 - needs matplotlib
        COLOURS,
        HATCHES,
        remap_map,
    )

    steps = [step for steps in plans for step in steps]
    if len(steps) == 1:
        remap_map(steps[0].moved, ax=axes)
        return
    series = {
        "moved": [100 * step.moved.fraction for step in steps],
        "unavoidable": [100 * step.moved.unavoidable for step in steps],
    }
    for place, (label, values) in enumerate(series.items()):
        axes.barh(
            [row + 0.4 * place - 0.2 for row in range(len(steps))],
            values,
            0.4,
            label=label,
            color=COLOURS[place],
            hatch=HATCHES[place],
        )
    labels = [_tick(step, plans) for step in steps]
    axes.set_yticks(range(len(steps)), labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("share of the keys (%)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    axes.figure.set_figheight(1.5 + 0.6 * len(steps))


def _tick(step: _Step, plans: Sequence[Sequence[_Step]]) -> str:
    return f"{_label(step)}, {step.name}" if len(plans[0]) > 1 else _label(step)
