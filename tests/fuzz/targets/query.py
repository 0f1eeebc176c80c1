"""A query and header lines: two spellings of one condition never give two answers."""

import re
from urllib.parse import unquote

from balancers.http import Request
from balancers.http.fields import RequestFields, parameters
from balancers.routing import Route, Router
from tests.fuzz.choices import Choices
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"beta=1", b"&", b"%62eta=1", b"=", b"+", b"%20", b"%FF", b"%", b"%zz", b";beta=1"),
    *(b"beta", b"Beta=1", b"beta=", b"&&", b"beta=%31", b"#", b"%00", b"beta[]=1"),
)

ROUTER = Router(
    [
        Route("any"),
        Route("query", query={"beta": "1"}),
        Route("header", headers={"X-Beta": "1"}),
        Route("present", query={"beta": True}),
    ]
)


def check(data: bytes) -> None:
    """The bytes are the query, as latin-1, and the decisions about its spelling."""
    query = data.decode("latin-1")
    found = parameters(query)
    assert found == expected(query)
    assert work_of(lambda: parameters(query)).lines <= 25 * (query.count("&") + 1) + 10 * len(data)
    choices = Choices(data)
    names = list(found)[:10]
    respelled = "&".join(
        f"{encoded(name, choices)}={encoded(value, choices)}"
        for name in names
        for value in found[name]
        if isinstance(value, str)
    )
    kept = {name: [value for value in found[name] if value is not None] for name in names}
    assert parameters(respelled) == {name: values for name, values in kept.items() if values}
    values = found.get("beta", [])
    route = RequestFields(Request(headers=[("x-BETA", "1")]), query)
    assert route.values("header", "x-beta") == ["1"]
    if query.isascii() and query.isprintable() and not {" ", "#"} & {*query}:
        match = ROUTER.match(Request(target=f"/?{query}"))
        assert match.value == ("query" if values == ["1"] else "present" if values else "any")


def expected(query: str) -> dict[str, list[str | None]]:
    """Parse a query with the standard library only, pair by pair."""
    found: dict[str, list[str | None]] = {}
    for pair in query.split("&"):
        name, value = (decoded(text) for text in [*pair.split("=", 1), ""][:2])
        if name:
            found.setdefault(name, []).append(value)
    return found


def decoded(text: str) -> str | None:
    """Return the text of a form, or None for invalid percent-encoding or UTF-8."""
    if not all(re.match("[0-9A-Fa-f]{2}", piece) for piece in text.split("%")[1:]):
        return None
    try:
        return unquote(text.replace("+", " "), errors="strict")
    except UnicodeDecodeError:
        return None


def encoded(text: str, choices: Choices) -> str:
    """Return one spelling of a name or a value."""
    octets = text.encode()
    return "".join(
        chr(octet)
        if chr(octet).isalnum() and octet < 128 and choices.below(2)
        else (f"%{octet:02X}" if choices.below(2) else f"%{octet:02x}")
        for octet in octets
    )
