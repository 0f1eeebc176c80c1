"""Stores what became of each mutant, in one small file per package."""

import json
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.mutation.mutants import ROOT, Mutant, Scope, Source, sources

__all__ = [
    "KILLED",
    "NOT_RUN",
    "REASONS",
    "SURVIVED",
    "TIMED_OUT",
    "UNDECIDED",
    "UNREACHED",
    "Results",
]

KILLED, TIMED_OUT, SURVIVED, UNREACHED, UNDECIDED, NOT_RUN = "ktsu?."
"""A test fails; a test takes five times as long; none fails; no test runs the line; none of the
first tests fails, and the others have not been run yet; not run yet."""
FOLDER = Path(__file__).parent / "results"
REASONS = Path(__file__).parent / "survivors.toml"


class Results:
    """The fate of each mutant of a package: one character per mutant, in one text per scope.

    The text of a scope belongs to the digest of its source: a scope that has changed since starts
    again with mutants that have not been run.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.path = FOLDER / f"{package}.json"
        self.sources = sources(package)
        stored: dict[str, Any] = {}
        if self.path.exists():
            stored = json.loads(self.path.read_text(encoding="utf-8"))
        self.commit: str = stored.get("commit", "")
        self.tree: str = stored.get("tree", "")
        self.tests: str = stored.get("tests", "")
        files: dict[str, dict[str, str]] = stored.get("files", {})
        self._fates: dict[int, list[str]] = {}
        self.stale: list[str] = []
        """The scopes that have no results of their present source."""
        for source in self.sources:
            known = files.get(source.name, {})
            for scope in source.scopes.values():
                digest, _, fates = known.get(scope.name, "").partition(" ")
                if digest != scope.digest or len(fates) != len(scope.mutants):
                    fates = NOT_RUN * len(scope.mutants)
                    if scope.mutants:
                        self.stale.append(f"{source.name} {scope.name}")
                self._fates[id(scope)] = list(fates)

    def all(self) -> Iterable[tuple[Source, Mutant, str]]:
        """Return each mutant with its fate."""
        for source in self.sources:
            for scope in source.scopes.values():
                for mutant, fate in zip(scope.mutants, self._fates[id(scope)], strict=True):
                    yield source, mutant, fate

    def note(self, mutant: Mutant, fate: str) -> None:
        """Note what became of a mutant."""
        scope: Scope = mutant.scope
        at = next(at for at, other in enumerate(scope.mutants) if other is mutant)
        self._fates[id(scope)][at] = fate

    def save(self, *, tests: str | None = None) -> None:
        """Write the file, with the commit that the sources belong to."""
        folder = f"balancers/{self.package}"
        clean = not _git("status", "--porcelain", "--", folder)
        self.commit = _git("rev-parse", "HEAD") if clean else "not committed"
        self.tree = _git("rev-parse", f"HEAD:{folder}") if clean else "not committed"
        self.tests = self.tests if tests is None else tests
        files = {
            source.name: {
                scope.name: f"{scope.digest} {''.join(self._fates[id(scope)])}"
                for scope in source.scopes.values()
                if scope.mutants
            }
            for source in self.sources
        }
        stored = {
            "score": self.score(),
            "commit": self.commit,
            "tree": self.tree,
            "tests": self.tests,
            "files": files,
        }
        text = json.dumps(stored, indent=1, ensure_ascii=False) + "\n"
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)

    def survivors(self) -> dict[str, set[str]]:
        """Return the names of the surviving mutants by file and scope."""
        found: dict[str, set[str]] = {}
        for source, mutant, fate in self.all():
            if fate in (SURVIVED, UNREACHED):
                found.setdefault(f"{source.name} {mutant.scope.name}", set()).add(mutant.name)
        return found

    def faults(self) -> list[str]:
        """Return what is wrong: a survivor without a reason, a reason without a survivor."""
        survivors = self.survivors()
        reasons = {
            key: value for key, value in read_reasons().items() if key.startswith(self.prefix)
        }
        known = {
            f"{source.name} {mutant.scope.name}": {
                other.name: fate
                for other, fate in zip(
                    mutant.scope.mutants, self._fates[id(mutant.scope)], strict=True
                )
            }
            for source, mutant, _ in self.all()
        }
        faults: list[str] = []
        for key, names in survivors.items():
            faults += [
                f"survives without a reason: {key}: {name}"
                for name in sorted(names - reasons.get(key, {}).keys())
            ]
        for key, named in reasons.items():
            for name, reason in named.items():
                fate = known.get(key, {}).get(name)
                if not reason.strip():
                    faults.append(f"the reason is empty: {key}: {name}")
                if fate is None:
                    faults.append(f"a reason for a mutant that does not exist: {key}: {name}")
                elif fate in (KILLED, TIMED_OUT):
                    faults.append(f"a reason for a mutant that is killed: {key}: {name}")
        return faults

    @property
    def prefix(self) -> str:
        """The beginning of the names of the package's files."""
        return f"balancers/{self.package}/"

    def score(self) -> str:
        """Return a line with the numbers of mutants by fate."""
        fates = Counter(fate for _, _, fate in self.all())
        total = sum(fates.values())
        run = total - fates[NOT_RUN]
        killed = fates[KILLED] + fates[TIMED_OUT]
        share = f"{100 * killed / run:.2f} %" if run else "-"
        reasons = read_reasons()
        explained = sum(
            len(names & reasons.get(key, {}).keys()) for key, names in self.survivors().items()
        )
        alive = fates[SURVIVED] + fates[UNREACHED]
        return (
            f"{self.package:<11}{total:6} mutants  {run:6} run  {killed:6} killed ({share})"
            f"  {alive:4} survive, {explained:4} with a reason  {fates[UNDECIDED]:4} undecided"
        )


def read_reasons() -> dict[str, dict[str, str]]:
    """Return the reasons of the survivors, by file and scope, then by mutant."""
    return tomllib.loads(REASONS.read_text(encoding="utf-8"))


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 - git is found on the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
