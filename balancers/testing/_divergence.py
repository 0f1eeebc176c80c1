"""Describes the first difference between a log and its replay."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from balancers.pool import Pool
from balancers.testing._values import dumps

__all__ = ["RESULTS", "Diverged", "Situation", "differing", "same"]

_DECISIONS = {"to", "at", "bound", "panic", "raises", "gives"}
_STATES = {
    "w": "the weights in the balancer that the call changed",
    "state": "the weights in the balancer, or the requests in flight",
    "due": "the times of the next changes that the gates announce",
    "rng": "the state of a generator of random numbers",
}
RESULTS = {*_DECISIONS, *_STATES}
"""The items of a line that a call has caused.  The others are its arguments."""
_START = {
    "members": "the members or their weights",
    "now": "the times of the pool",
    "gates": "the numbers of gates",
    "settings": "the settings",
    "rng": "the states of the generators",
}
_DRAWN = (
    "If the construction of the pool draws random numbers, the state in the log is the one after "
    "that.  Then create the recorder before the members join, or log the seed in the settings."
)
_MOST_ROWS = 20
"""If there are more members, only those of interest are shown."""
_HIDDEN = "The calls after line {} had equal results, but not the same effect on the state."


class Situation(NamedTuple):
    """A pool before the call of a line, and the arguments of the call if it is a request."""

    pool: Pool[Any]
    members: Mapping[str, tuple[float, float | None, int]]
    """By the JSON of each member: its weight, its weight in the balancer, its requests."""
    request: Mapping[str, Any]


class Diverged(AssertionError):
    """Raised by :func:`replay` for the first difference between a log and its replay.

    The text shows the call, both results, and the state of every member before the call.

    >>> from balancers import Pool, RoundRobin
    >>> from balancers.testing import Recorder, replay
    >>> lines = []
    >>> with Recorder(pool := Pool(RoundRobin(["a", "b"])), write=lines.append):
    ...     lease = pool.acquire(now=1.0)
    >>> try:
    ...     replay(lines, lambda header: Pool(RoundRobin(header.members, offset=1)))
    ... except Diverged as diverged:
    ...     diverged.line, diverged.what, diverged.recorded["to"], diverged.replayed["to"]
    (2, 'decision', 'a', 'b')
    """

    line: int
    """The number of the line in the log.  The first line has the number 1."""
    what: str
    """``decision`` if a result differs: a backend, an error, or what a gate returned.  ``state`` if
    only the state after the call differs.  ``start`` if the pool was constructed differently."""
    recorded: Mapping[str, Any]
    """The line of the log, as JSON."""
    replayed: Mapping[str, Any]
    """The same line as the replay has written it."""
    explanation: object
    """What :meth:`Pool.explain <balancers.Pool.explain>` returned before a request, else None."""

    def __init__(
        self,
        line: int,
        recorded: Mapping[str, Any],
        replayed: Mapping[str, Any],
        names: Collection[str],
        before: Situation | None = None,
        checked: int = 1,
    ) -> None:
        self.line = line
        self.recorded, self.replayed = recorded, replayed
        decided = _DECISIONS.intersection(names)
        self.what = "start" if line == 1 else "decision" if decided else "state"
        self.explanation = None
        parts = [f"line {line}: {self._summary(names)}"]
        sides = (("recorded", recorded), ("replayed", replayed))
        parts += [f"  {s}: {n}: {dumps(fields.get(n))}" for n in names for s, fields in sides]
        if self.what == "start" and "rng" in names:
            parts.append(_DRAWN)
        if {"check", "end"}.intersection(recorded):
            parts.append(_HIDDEN.format(checked))
        if before is not None:
            with suppress(Exception):  # the line may contain anything
                parts += ["", *_table(before, recorded, replayed)]
            with suppress(Exception):  # the arguments of the request may be invalid
                self.explanation = _explained(before)
                parts += ["", "What the replay finds before the call:", str(self.explanation)]
        super().__init__("\n".join(parts))

    def _summary(self, names: Collection[str]) -> str:
        if self.what == "start":
            return f"{_START[next(iter(names))]} differ when the pool is constructed"
        call = _shown_call(self.recorded)
        if self.what == "decision":
            return f"another result of {call}"
        return f"another state after {call}: {', '.join(_STATES[name] for name in names)}"


def differing(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[str]:
    """Return the names of the items that differ, in the order of the lines."""
    names = dict.fromkeys((*recorded, *replayed))
    missing = object()
    pairs = ((name, recorded.get(name, missing), replayed.get(name, missing)) for name in names)
    return [n for n, a, b in pairs if a is missing or b is missing or not same(a, b)]


def same(one: Any, other: Any) -> bool:
    """Return whether two values of JSON are equal, bit for bit."""
    return dumps(one) == dumps(other)


def _shown_call(fields: Mapping[str, Any]) -> str:
    """Return the call of a line as text."""
    if {"check", "end"}.intersection(fields):
        return "the calls before it"
    if "read" in fields:
        return "a reading of the pool"
    name = next((n for n in ("acquire", "release", "progress") if n in fields), "")
    if name:
        shown_items = [f"{n}={dumps(v)}" for n, v in fields.items() if n not in {name, *RESULTS}]
        return f"{name} {dumps(fields[name])} ({', '.join(shown_items)})"
    owner = next(name for name in ("pool", "balancer", "gate") if name in fields)
    place = f" {fields['gate']}" if owner == "gate" else ""
    name = fields["call"] if owner == "gate" else fields[owner]
    items = [*map(dumps, fields.get("args", ()))]
    items += [f"{n}={dumps(v)}" for n, v in fields.get("kw", {}).items()]
    return f"{name}({', '.join(items)}) of the {owner}{place}"


def _table(
    before: Situation, recorded: Mapping[str, Any], replayed: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the rows of a table of the members, before the call and after it on both sides."""
    sides = [
        {dumps(b): _weight(*rest) for b, *rest in side.get("w", ())}
        for side in (recorded, replayed)
    ]
    picked = [dumps(side["to"]) if "to" in side else "" for side in (recorded, replayed)]
    rows = [["backend", "weight", "in flight", "effective", "recorded", "replayed"]]
    names = dict.fromkeys((*before.members, *sides[0], *sides[1]))
    of_interest = {*sides[0], *sides[1], *picked}
    for name in names:
        if len(names) > _MOST_ROWS and name not in of_interest:
            continue
        weight, effective, in_flight = before.members.get(name, (None, None, None))
        row = [name, f"{weight}", f"{in_flight}", f"{effective}"]
        for side, to in zip(sides, picked, strict=True):
            row.append(f"{side.get(name, effective)}{' picked' if name == to else ''}")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield "Before the call, both sides agree; the last two columns are the weights after it:"
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _weight(weight: float, *reasons: str) -> str:
    return f"{weight} ({', '.join(reasons)})" if reasons else f"{weight}"


def _explained(before: Situation) -> object:
    """Return why the replay picks what it picks.  Raises TypeError if the line is no request."""
    request = {name: value for name, value in before.request.items() if name != "t"}
    return before.pool.explain(before.request["t"], **request)
