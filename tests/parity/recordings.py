"""Recordings of other programs: their kinds, recognised by content, and how each one is reported.

A module that replays a kind has a function ``replay(recording) -> Iterable[Tally]``.  The file
name decides nothing, except that data files which belong to the recordings are skipped by name.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

__all__ = ["DATA_FILES", "PROGRAMS", "Tally", "different", "lines", "module_of", "replayed"]

DATA_FILES = ("geo.json",)
"""Files without a recording: the map of networks to places that the recordings also hold."""
PROGRAMS = {"gdnsd": "gdnsd", "powerdns": "powerdns", "keepalived": "vrrp", "frr": "vrrp"}
"""The first word of a recording's ``implementation``, and the module that replays it."""


@dataclass
class Tally:
    """The result of one kind of recorded cases in one file.

    A case is compared exactly, or is statistical (its counts lie within a stated bound), or is out
    of scope for a reason.  A problem makes the file fail.
    """

    kind: str
    compared: int = 0
    agreed: int = 0
    statistical: int = 0
    out_of_scope: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The cases that are not compared, by reason."""
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    """Lines for the report, such as a deviation that is recognised and not copied."""

    def check(self, case: str, recorded: object, ours: object) -> None:
        """Compare one case exactly."""
        self.compared += 1
        if problem := different(recorded, ours):
            self.problems.append(f"{case}: {problem}")
        else:
            self.agreed += 1

    def count(self, case: str, problem: str = "") -> None:
        """Count a statistical case; a problem says which bound it breaks."""
        self.statistical += 1
        if problem:
            self.problems.append(f"{case}: {problem}")

    def leave(self, case: str, reason: str) -> None:
        """Name a case that is not compared, and the reason."""
        self.out_of_scope.setdefault(reason, []).append(case)

    @property
    def cases(self) -> int:
        """The number of cases of this kind."""
        return self.compared + self.statistical + sum(map(len, self.out_of_scope.values()))


def different(recorded: object, ours: object) -> str:
    """Return how two values differ, or an empty text."""
    return "" if recorded == ours else f"recorded {recorded}, ours {ours}"


def module_of(content: Any) -> str | None:
    """Return the name of the module that replays a file, or None for recorded picks."""
    if not isinstance(content, dict):
        return None
    fields = cast("Mapping[str, Any]", content)
    if fields.keys() & {"oracle", "policy"}:
        return None
    if "nodes" in fields or "packets" in fields:
        return "vrrp"
    if "cases" not in fields:
        return None
    rows: list[Any] = fields["cases"]
    if rows and all("option_hex" in row for row in rows):
        return "ecs"
    implementation = fields.get("implementation")
    if not isinstance(implementation, str):
        raise TypeError("invalid recording: 'implementation' is missing")
    module = PROGRAMS.get(implementation.partition(" ")[0].lower())
    if module is None:
        raise LookupError(f"no program replays {implementation!r}")
    return module


def replayed(content: Mapping[str, Any], module: str) -> list[Tally]:
    """Replay a recording; one without a single case is a failure."""
    play = import_module(f"tests.parity.{module}").replay
    tallies: list[Tally] = list(cast("Iterable[Tally]", play(content)))
    if not any(tally.cases for tally in tallies):
        raise ValueError("empty: nothing was recorded")
    return tallies


def lines(results: Iterable[tuple[Path, list[Tally]]]) -> Iterator[str]:
    """Return the totals per kind, the notes, and the cases out of scope under their reasons."""
    kinds: dict[str, list[tuple[Path, Tally]]] = {}
    for path, tallies in results:
        for tally in tallies:
            kinds.setdefault(tally.kind, []).append((path, tally))
    for kind, parts in sorted(kinds.items()):
        played = [tally for _, tally in parts]
        agreed, compared, statistical = (
            sum(getattr(tally, name) for tally in played)
            for name in ("agreed", "compared", "statistical")
        )
        aside = sum(tally.cases for tally in played) - compared - statistical
        yield (
            f"{kind:<45} {f'{agreed}/{compared}':>12} compared, {statistical:>4} statistical, "
            f"{aside:>4} out of scope  {len({path for path, _ in parts}):>3} files"
        )
    for kind, parts in sorted(kinds.items()):
        for path, tally in parts:
            yield from (f"{kind}: {path.stem}: {note}" for note in tally.notes)
    reasons: dict[tuple[str, str], list[str]] = {}
    for kind, parts in sorted(kinds.items()):
        for path, tally in parts:
            for reason, cases in tally.out_of_scope.items():
                reasons.setdefault((kind, reason), []).append(f"{path.stem}: {', '.join(cases)}")
    for (kind, reason), names in reasons.items():
        yield f"out of scope: {kind}: {reason}: {'; '.join(names)}"
