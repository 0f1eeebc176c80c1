"""Tests other people's libraries with the laws, and writes ``docs/other_libraries.md``.

    python -m tests.other_libraries

Each law is tested alone over each adapter.  The exit code is 1, and the page stays as it was, if

* a law does not hold, and no finding explains it,
* none of the laws of a finding is broken any more,
* no program of a law shows a finding, or its program that uses the library alone does not run.
"""

import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from balancers.testing import LawBroken, check_balancer
from balancers.testing.laws import BALANCER_LAWS
from tests.other_libraries.adapter import Subject
from tests.other_libraries.page import PAGE, Result, page
from tests.other_libraries.subjects import SUBJECTS

ROOT = Path(__file__).parents[2]
EXAMPLES, SEED = 100, 0


def tested(subject: Subject) -> list[Result]:
    """Test every law that applies to an adapter."""
    return [law_tested(subject, law.name) for law in BALANCER_LAWS if law.applies(subject.traits)]


def law_tested(subject: Subject, law: str) -> Result:
    try:
        check_balancer(
            subject.factory, subject.traits, laws=[law], examples=EXAMPLES, seed=SEED,
            **subject.options,
        )  # fmt: skip
    except LawBroken as broken:
        fails = run(broken.program).returncode != 0
        return Result(law, broken.why, broken.program, fails)
    return Result(law)


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the modules that this process can import."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(program, encoding="utf-8")
        return subprocess.run(
            [sys.executable, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


def mistakes(subject: Subject, results: list[Result], shown: dict[str, str]) -> list[str]:
    """Return what is wrong with the findings; ``shown`` gets what their programs print."""
    broken = {result.law: result for result in results if result.why}
    explained = [law for finding in subject.findings for law in finding.laws]
    found = [
        f"no finding explains why {law} does not hold: {result.why}\n{result.program}"
        for law, result in broken.items()
        if law not in explained
    ]
    found += [f"two findings explain {law}" for law in {*explained} if explained.count(law) > 1]
    for finding in subject.findings:
        if not any(law in broken and broken[law].fails for law in finding.laws):
            found.append(f"no program shows: {finding.title}")
        if finding.alone:
            alone = run(finding.alone)
            shown[finding.alone] = alone.stdout
            if alone.returncode or not alone.stdout.strip():
                found.append(f"the library alone does not show: {finding.title}\n{alone.stderr}")
        elif finding.verdict == "fault":
            found.append(f"a fault without a program of the library alone: {finding.title}")
    return [f"{subject.distribution}, {subject.algorithm}: {mistake}" for mistake in found]


def main() -> int:
    shown: dict[str, str] = {}
    results: dict[str, list[Result]] = {}
    wrong: list[str] = []
    for subject in SUBJECTS:
        results[subject.algorithm] = of_subject = tested(subject)
        broken = [result.law for result in of_subject if result.why]
        row = f"{subject.distribution}, {subject.algorithm}: {broken}"
        print(row, flush=True)  # noqa: T201 - results are printed
        wrong += mistakes(subject, of_subject, shown)
    if wrong:
        print("\n\n".join(wrong))  # noqa: T201 - results are printed
        return 1
    versions = {subject.distribution: version(subject.distribution) for subject in SUBJECTS}
    written = page(
        results, SUBJECTS, versions, shown,
        date=f"{datetime.now(tz=UTC):%Y-%m-%d}", python=platform.python_version(),
        examples=EXAMPLES, seed=SEED,
    )  # fmt: skip
    PAGE.write_text(written, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written")  # noqa: T201 - results are printed
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
