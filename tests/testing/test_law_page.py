"""The page of the laws is current and has every law, and every law says what it is."""

import re
from importlib import import_module
from typing import Any

import pytest

from balancers.testing._law import Law
from tests.packages import HOME

law_page: Any = import_module("law_page")  # tests.packages made docs/ a folder of modules
LAWS: list[Law] = [law for laws in law_page.kinds().values() for law in laws]


def test_the_page_is_current() -> None:
    assert law_page.PAGE.read_text(encoding="utf-8") == law_page.page(), "make laws writes it"


def test_the_page_has_every_law_once() -> None:
    headings = re.findall(r"^### (\w+)$", law_page.page(), re.MULTILINE)
    assert headings == [law.name for law in LAWS]
    for laws in law_page.kinds().values():
        assert len({law.name for law in laws}) == len(laws)


def test_every_law_of_the_package_is_listed() -> None:
    defined = {
        name
        for path in (HOME / "testing" / "laws").glob("*.py")
        for name in re.findall(r"^@law\([^)]*\)\ndef (\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert defined == {law.name for law in LAWS}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_a_law_is_described(law: Law) -> None:
    """The statement, why, how it is tested, what it cannot see, in order."""
    statement, *paragraphs = law.page.split("\n\n")
    assert statement.endswith(".")
    assert "\n" not in statement, "the statement is one line"
    opened = [re.match(rf"({'|'.join(law_page.PARTS)}): \S", part) for part in paragraphs]
    assert [match[1] for match in opened if match] == [*law_page.PARTS]
