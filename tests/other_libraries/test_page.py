"""The page about other libraries names what was tested; ``make other-libraries`` writes it.

No test needs the libraries.
"""

import re
from datetime import date

import pytest

from tests.other_libraries.adapter import Subject
from tests.other_libraries.page import PAGE
from tests.other_libraries.subjects import SUBJECTS

DOCS = PAGE.parent
TEXT = PAGE.read_text(encoding="utf-8")
PLAIN = " ".join(TEXT.split())
SUMMARY = re.findall(
    r"^\| ([\w-]+) \| ([\d.]+) \| (.+?) \| ([\w, ]+) \| (\d+) of (\d+) \| (\d+) \| (\d+) \|$",
    TEXT,
    re.MULTILINE,
)


def test_the_page_has_a_date_and_is_in_the_table_of_contents() -> None:
    found = re.search(r"`make other-libraries` wrote it on (\d{4}-\d\d-\d\d), with CPython", PLAIN)
    assert found
    assert date.fromisoformat(found[1]) >= date(2026, 11, 30)
    assert "\n../other_libraries\n" in (DOCS / "testing" / "index.md").read_text(encoding="utf-8")


def test_the_table_has_every_algorithm_with_its_version_and_verdicts() -> None:
    rows = {(row[0], row[2]): row for row in SUMMARY}
    assert list(rows) == [(subject.distribution, subject.algorithm) for subject in SUBJECTS]
    for subject in SUBJECTS:
        *_, held, tested, faults, contracts = rows[subject.distribution, subject.algorithm]
        verdicts = [finding.verdict for finding in subject.findings]
        assert (int(faults), int(contracts)) == (
            verdicts.count("fault"),
            verdicts.count("contract"),
        )
        assert 0 < int(held) < int(tested)


def test_the_versions_of_the_headings_are_those_of_the_table() -> None:
    headings = dict(re.findall(r"^## ([\w-]+) ([\d.]+)$", TEXT, re.MULTILINE))
    assert headings == {row[0]: row[1] for row in SUMMARY}
    assert {*headings} == {"redis", "elastic-transport", "uhashring", "roundrobin"}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.algorithm)
def test_every_finding_is_on_the_page_with_its_reason_and_programs(subject: Subject) -> None:
    for finding in subject.findings:
        verdict = {"fault": "A fault", "contract": "Another contract"}[finding.verdict]
        assert f"#### {verdict}: {finding.title}\n" in TEXT
        assert " ".join(finding.reason.split()) in PLAIN
        assert finding.alone.strip() in TEXT
        assert finding.verdict == "contract" or finding.alone, "a fault has its own program"


def test_the_page_has_no_paths_of_a_machine() -> None:
    assert re.findall(r"(?:/(?:tmp|home|root|usr|work)/|site-packages)\S*", TEXT) == []
