"""A ``Set-Cookie`` value: a browser reads exactly what was given, or the value is refused."""

from balancers.errors import InvalidSetting
from balancers.http import cookie, set_cookie
from tests.fuzz.choices import Choices

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"__Host-a", b"__Secure-", b"__Http-", b"__Host-Http-", b"/", b"shop.example", b"Priority"),
    *(
        b"; Domain=x",
        b";",
        b"=",
        b"\r\nSet-Cookie: a=b",
        b"Secure",
        b"High",
        b"\x00",
        b",",
        b"\xff",
    ),
)


def check(data: bytes) -> None:
    """The bytes are decisions, and the texts of a cookie as latin-1."""
    choices = Choices(data)
    name, value = choices.text() or "a", choices.text()
    path = ("/", f"/{choices.text()}", choices.text())[choices.below(3)]
    domain = (None, choices.text())[choices.below(2)]
    max_age = (None, choices.below(1000) - 1)[choices.below(2)]
    http_only, secure, partitioned = (bool(choices.below(2)) for _ in range(3))
    same_site = (None, "Lax", "Strict", "None", choices.text())[choices.below(5)]
    further = {choices.text(): (None, choices.text())[choices.below(2)]} if choices else None
    try:
        written = set_cookie(
            name,
            value,
            path=path,
            domain=domain,
            max_age=max_age,
            http_only=http_only,
            secure=secure,
            same_site=same_site,
            partitioned=partitioned,
            attributes=further,
        )
    except InvalidSetting:
        return
    expected: list[tuple[str, str]] = [("path", path)]
    expected += [("domain", domain)] if domain is not None else []
    expected += [("max-age", str(max_age))] if max_age is not None else []
    expected += [("httponly", "")] * http_only + [("secure", "")] * secure
    expected += [("samesite", same_site)] if same_site is not None else []
    expected += [("partitioned", "")] * partitioned
    expected += [(key.lower(), text or "") for key, text in (further or {}).items()]
    pair, attributes = as_browser(written)
    assert pair == (name, value)
    assert sorted(attributes) == sorted(expected)
    assert written.isascii()
    assert written.isprintable()
    assert cookie(written.partition(";")[0], name) == value
    check_prefix(name.lower(), {*attributes}, secure, http_only)


def check_prefix(
    name: str, attributes: set[tuple[str, str]], secure: bool, http_only: bool
) -> None:
    """Assert that a browser keeps a cookie whose name has a prefix."""
    if name.startswith("__host-"):
        assert secure
        assert ("path", "/") in attributes
        assert "domain" not in {key for key, _ in attributes}
    if name.startswith(("__http-", "__host-http-")):
        assert http_only
    if name.startswith(("__secure-", "__http-")) or ("samesite", "None") in attributes:
        assert secure


def as_browser(written: str) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Parse a Set-Cookie value like a browser: RFC 6265, section 5.2."""
    first, *others = written.split(";")
    name, _, value = first.partition("=")
    found: list[tuple[str, str]] = []
    for other in others:
        key, _, text = other.partition("=")
        found.append((key.strip(" \t").lower(), text.strip(" \t")))
    return (name.strip(" \t"), value.strip(" \t")), found
