"""Writes the page about other people's libraries from results and reviews."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.other_libraries.adapter import Finding, Subject

__all__ = ["PAGE", "Result", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "other_libraries.md"
HEAD = """\
# Other libraries

This page shows which laws of [`balancers.testing`](testing/index.md) hold for the load balancing of
other Python libraries. `make other-libraries` wrote it on {date}, with CPython {python}, {examples}
examples for each law, and the seed {seed}.

The laws are those of this library. No other library promised to keep them, so a law that does not
hold is no fault by itself. For every law that does not hold, the source of the library was read,
and the result is one of two verdicts:

* **fault**: the behaviour is wrong by the library's own documentation or for its own callers. A
  program that uses the library alone, without this one, shows it.
* **another contract**: the library makes a different promise and keeps it. The law is worth knowing
  for a program that relies on it.

An adapter of about ten lines connects each algorithm to the laws. The adapters are in
`tests/other_libraries/`. The adapter stores the members and their weights, and the library chooses
among them. Therefore the laws about weights, errors and members that left show the adapter as much
as the library, and the laws about picks show the library.

To run a program of this page, install the packages of the table, and save the program in the top
folder of the repository.
"""


@dataclass(frozen=True)
class Result:
    """The result of one law: ``why`` and ``program`` are empty if it holds."""

    law: str
    why: str = ""
    program: str = ""
    fails: bool = False
    """Whether the program fails when it runs alone; that of a result by chance may not."""


def page(
    results: Mapping[str, list[Result]],
    subjects: list[Subject],
    versions: Mapping[str, str],
    shown: Mapping[str, str],
    **run: object,
) -> str:
    """Return the page.  ``shown`` has what each program that uses a library alone prints."""
    lines = [HEAD.format(**run), *_summary(results, subjects, versions)]
    for distribution, group in groupby(subjects, lambda subject: subject.distribution):
        lines += ["", f"## {distribution} {versions[distribution]}"]
        for subject in group:
            lines += ["", *_section(subject, results[subject.algorithm], shown)]
    return "\n".join(lines) + "\n"


def _summary(
    results: Mapping[str, list[Result]], subjects: list[Subject], versions: Mapping[str, str]
) -> Iterator[str]:
    yield "| library | version | algorithm | traits | laws that hold | faults | other contracts |"
    yield "|---|---|---|---|---|---|---|"
    for subject in subjects:
        of_subject = results[subject.algorithm]
        held = sum(not result.why for result in of_subject)
        verdicts = [finding.verdict for finding in subject.findings]
        cells = [
            subject.distribution, versions[subject.distribution], subject.algorithm,
            ", ".join(subject.traits), f"{held} of {len(of_subject)}",
            str(verdicts.count("fault")), str(verdicts.count("contract")),
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _section(subject: Subject, results: list[Result], shown: Mapping[str, str]) -> Iterator[str]:
    yield from (f"### {subject.distribution}: {subject.algorithm}", "", subject.promise, "")
    held = ", ".join(f"`{result.law}`" for result in results if not result.why)
    yield f"These laws hold: {held}."
    for finding in subject.findings:
        yield from _finding(finding, results, shown)


def _finding(finding: Finding, results: list[Result], shown: Mapping[str, str]) -> Iterator[str]:
    broken = [result.law for result in results if result.why and result.law in finding.laws]
    failing = {result.law: result for result in results if result.why and result.fails}
    result = next(failing[law] for law in finding.laws if law in failing)
    verdict = {"fault": "A fault", "contract": "Another contract"}[finding.verdict]
    laws = ", ".join(f"`{law}`" for law in broken)
    yield from ("", f"#### {verdict}: {finding.title}", "", finding.reason, "")
    yield from (f"For this reason the following laws do not hold: {laws}.", "")
    yield from (f"`{result.law}` reports “{result.why}” with this program:", "")
    yield from ("```python", result.program.strip(), "```")
    if finding.alone:
        yield from ("", "The library alone:", "", "```python", finding.alone.strip(), "```")
        yield from ("", "This prints:", "", "```text", shown[finding.alone].strip(), "```")
