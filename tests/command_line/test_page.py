"""The page shows what the commands print, all methods, and every name of the JSON documents."""

from typing import Any

from tests.command_line.command import data
from tests.command_line.page import PAGE, written

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_outputs_are_those_of_the_commands() -> None:
    """Write them anew with ``python -m tests.command_line.page``."""
    assert written(TEXT) == TEXT


def names(value: Any) -> set[str]:
    """Return the names in a document, but those of servers and settings."""
    kind: type[Any] = type(value)
    if kind is list:
        return set[str]().union(*map(names, value))
    if kind is not dict:
        return set()
    inner = [each for name, each in value.items() if name not in {"settings", "new_settings"}]
    return {*value}.union(*map(names, inner))


def test_every_name_of_the_documents_is_described() -> None:
    table = TEXT.partition("| command | name | meaning |")[2].partition("\n\n")[0]
    documents = [
        data("predict", "maglev", "a,b", "--explain", "--key", "k", "--down", "a"),
        data("remap", "a,b", "a,b,c", "a", "--random", "100"),
        data("compare", "--servers", "2", "--requests", "1000", "--runs", "2"),
    ]
    documents[2]["servers"] = {}
    found = set[str]().union(*map(names, documents))
    assert {name for name in found if f"`{name}`" not in table} == set()
