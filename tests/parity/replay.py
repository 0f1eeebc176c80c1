"""Replay recorded picks, answers and packets: ``python tests/parity/replay.py DIR…``.

Every ``*.json`` file under the folders is a case, and its contents say of which kind.  Recorded
picks are a configuration, requests, and picks: the expected values are removed; the rest is passed
to ``replay`` of the program's module in this package, and its picks are compared one by one.  A
policy or setting that no preset supports is a failure.  The recordings of name servers and of VRRP
routers are described in ``recordings.py``.  The exit code is 0 if everything that is compared
agrees and no file is empty.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.parity.recordings import DATA_FILES, Tally, lines, module_of, replayed

__all__ = ["PROGRAMS", "Verdict", "judge", "main", "report", "verdicts"]

PROGRAMS = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "envoy": "envoy",
    "caddy": "caddy",
    "libmemcached": "ketama",
    "twemproxy": "ketama",
    "uhashring": "ketama",
}
"""The first word of a case's ``oracle``, and the module that replays it."""
EXPECTATIONS = ("picks", "tries", "counts", "exchanges", "set_cookie")
"""The fields of a case with the expected values."""


@dataclass
class Verdict:
    """The result of one file; ``total`` is 0 if nothing could be compared."""

    path: Path
    oracle: str = ""
    policy: str = ""
    total: int = 0
    matched: int = 0
    in_scope: bool = True
    statistical: bool = False
    problem: str = ""
    details: list[str] = field(default_factory=list[str])
    tallies: list[Tally] | None = None
    """The results of a recording that is not one of picks."""
    data: bool = False
    """Whether the file is skipped, because it holds no recording."""

    @property
    def passed(self) -> bool:
        """Whether every pick matched, or no preset covers the case."""
        return not self.problem

    @property
    def picks(self) -> bool:
        """Whether the file holds recorded picks, or failed before this was known."""
        return self.tallies is None and not self.data


def judge(path: Path) -> Verdict:
    """Replay one file."""
    verdict = Verdict(path, data=path.name in DATA_FILES)
    if verdict.data:
        return verdict
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        module = module_of(content)
        if module is None:
            case = _picks(content)
            verdict.oracle, verdict.policy = case["oracle"], case["policy"]
            _compare(case, verdict)
        else:
            verdict.tallies = replayed(content, module)
            problems = [f"{t.kind}: {text}" for t in verdict.tallies for text in t.problems]
            if problems:
                verdict.problem = f"{len(problems)} differences, the first: {problems[0]}"
                verdict.details = problems
    except Exception as error:  # noqa: BLE001 - an invalid file must not hide the others
        verdict.problem = f"{type(error).__name__}: {error}"
    return verdict


def _picks(case: Any) -> dict[str, Any]:
    if not isinstance(case, dict):
        raise TypeError("invalid case: not an object")
    fields = cast("dict[str, Any]", case)
    for name in ("oracle", "policy"):
        if not isinstance(fields.get(name), str):
            raise TypeError(f"invalid case: {name!r} is missing")
    return fields


def _compare(case: dict[str, Any], verdict: Verdict) -> None:
    program = PROGRAMS.get(case["oracle"].split(" ")[0].lower())
    if program is None:
        raise LookupError(f"no program replays {case['oracle']!r}")
    expected = {name: case.pop(name) for name in EXPECTATIONS if name in case}
    if not any(expected.values()):
        raise ValueError("empty: nothing was recorded")
    if "picks" not in expected and expected.keys() & {"counts", "exchanges"}:
        verdict.in_scope, verdict.statistical = False, True
        without_requests = {name: case[name] for name in case if name not in {"ops", "n"}}
        # Replay no requests: this checks the names in the case.
        import_module(f"tests.parity.{program}").replay({**without_requests, "keys": []})
        return
    if not case.keys() & {"keys", "ops", "n"}:
        case["n"] = len(expected.get("picks", []))  # that many equal requests
    module = import_module(f"tests.parity.{program}")
    candidates: Iterable[list[Any]] | None = module.replay(case)
    verdict.in_scope = candidates is not None
    if candidates is None:
        return
    picks: list[Any] = expected.get("picks", [])
    if not picks:
        raise ValueError("empty: no picks were recorded")
    verdict.total = len(picks)
    ours = _best(candidates, picks)
    verdict.matched = _equal_count(ours, picks)
    if ours != picks:
        place = next((i for i, pick in enumerate(picks) if [pick] != ours[i : i + 1]), len(picks))
        verdict.problem = f"{verdict.matched} of {verdict.total}"
        verdict.details = _mismatch(case, place, picks[place:][:1], ours[place:][:1])
    elif "tries" in expected and hasattr(module, "tries"):
        _compare_tries(case, verdict, expected["tries"], module.tries(case))


def _compare_tries(
    case: dict[str, Any], verdict: Verdict, recorded: list[Any], ours: list[Any]
) -> None:
    for place, (tried, tried_here) in enumerate(zip(recorded, ours, strict=True)):
        if tried not in (None, tried_here):
            verdict.problem = "the picks match, but not the servers that were tried"
            verdict.details = _mismatch(case, place, tried, tried_here)
            return


def _best(candidates: Iterable[list[Any]], picks: list[Any]) -> list[Any]:
    """Return the first candidate that matches, or the one with the most matches."""
    best: list[Any] = []
    for candidate in candidates:
        if candidate == picks:
            return candidate
        best = max(best, candidate, key=lambda ours: _equal_count(ours, picks))
    return best


def _equal_count(ours: list[Any], picks: list[Any]) -> int:
    return sum(mine == pick for mine, pick in zip(ours, picks, strict=False))


def _mismatch(case: dict[str, Any], place: int, recorded: Any, ours: Any) -> list[str]:
    rest = {name: value for name, value in case.items() if name not in {"keys", "ops"}}
    lines = [f"{name}: {json.dumps(value)}" for name, value in rest.items()]
    requests: list[Any] = case.get("keys") or case.get("ops") or []
    if "keys" in case:
        requests = requests[: place + 1]
    request = json.dumps(requests[-1:] if "keys" in case else requests)
    return [*lines, f"request: {request}", f"pick {place}: recorded {recorded}, ours {ours}"]


def verdicts(folders: Sequence[Path]) -> Iterator[Verdict]:
    """Replay every file under the folders once; an empty folder is a failure."""
    seen: set[Path] = set()
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
        if not files:
            yield Verdict(folder, problem="empty: no *.json here")
        for path in files:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield judge(path)


def report(results: Sequence[Verdict]) -> Iterator[str]:
    """Return the report in lines: totals per kind, then failures, one in full."""
    if any(verdict.picks for verdict in results):
        yield from _picks_report(results)
    yield from lines([(each.path, each.tallies) for each in results if each.tallies])
    if skipped := [str(verdict.path) for verdict in results if verdict.data]:
        yield f"skipped, data without a recording: {', '.join(skipped)}"
    failed = [verdict for verdict in results if not verdict.passed]
    for verdict in failed:
        yield f"FAILED {verdict.path}: {verdict.problem}"
    if not _played(results):
        yield "FAILED: nothing was compared"
    for verdict in [verdict for verdict in failed if verdict.details][:1]:
        yield f"the first mismatch{'es' * (not verdict.picks)}, in {verdict.path}:"
        yield from (f"  {line}" for line in verdict.details)


def _picks_report(results: Sequence[Verdict]) -> Iterator[str]:
    """Return the totals of picks per program and policy, and the files that are not compared."""
    played = [verdict for verdict in results if verdict.in_scope and verdict.picks]
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in sorted(played, key=lambda each: (each.oracle, each.policy)):
        if verdict.total:
            groups.setdefault((verdict.oracle, verdict.policy), []).append(verdict)
    for (oracle, policy), files in groups.items():
        score = f"{sum(v.matched for v in files)}/{sum(v.total for v in files)}"
        yield f"{oracle:<37} {policy:<25} {score:>12}  {len(files):>3} files"
    counted = [verdict for verdict in played if verdict.total]
    matched, total = (sum(getattr(v, name) for v in counted) for name in ("matched", "total"))
    yield f"compared: {len(counted)} files, {matched}/{total} picks"
    others = [verdict for verdict in results if not verdict.in_scope and verdict.passed]
    for statistical, title in ((True, "statistical"), (False, "not covered by a preset")):
        names = [each.path.name for each in others if each.statistical is statistical]
        if names:
            yield f"{title}: {len(names)} files: {', '.join(names)}"


def _played(results: Iterable[Verdict]) -> bool:
    """Whether anything was compared, exactly or within a bound."""
    return any(
        any(tally.compared or tally.statistical for tally in verdict.tallies)
        if verdict.tallies
        else verdict.in_scope and verdict.total
        for verdict in results
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(description="Replay recorded picks of real programs.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    results = list(verdicts(parser.parse_args(arguments).folders))
    for line in report(results):
        encoded = line.encode(sys.stdout.encoding, "backslashreplace")
        print(encoded.decode(sys.stdout.encoding))  # noqa: T201 - the report
    return 0 if _played(results) and all(verdict.passed for verdict in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
