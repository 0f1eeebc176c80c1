"""Hostile cookies: nothing in a request is parsed twice, and nothing ambiguous is written.

``stored`` is what a browser makes of a ``Set-Cookie`` value, by the algorithm of
draft-ietf-httpbis-rfc6265bis: the attributes that it would see are those that were asked for.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Request, cookie, cookies, set_cookie
from balancers.sessions import CookieSessions
from tests.depth import runs
from tests.sessions.samples import COOKIE, WALL, pool_of, tokens

ATTRIBUTES = ("path", "domain", "max-age", "httponly", "secure", "samesite", "partitioned")
PREFIXES = {
    "__Secure-": {"secure"}, "__Host-": {"secure", "host"}, "__Http-": {"secure", "httponly"},
    "__Host-Http-": {"secure", "httponly", "host"},
}  # fmt: skip
CONTROLS = [chr(code) for code in (*range(32), 127)]
INJECTIONS = [
    *CONTROLS, ";", "; Domain=evil.example", "\r\nSet-Cookie: a=b", "\n\n<script>", "é", "\u0130",
    "\u2028", "\uff1b", "\ud800", "\udc0a", "\U0001f36a", "\x80", "\x85", "\xa0",
]  # fmt: skip
TEXTS = st.text(max_size=12) | st.text('abAB=;, \t"\\\r\n\0_-/.%', max_size=12)


def mostly(*valid: Any) -> st.SearchStrategy[Any]:
    """Return values that are often valid, so that many combinations are accepted."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(valid) if n else TEXTS)


def stored(header: str) -> tuple[str, str, dict[str, str]] | None:
    """Return the name, the value and the attributes that a browser stores; None if it refuses."""
    if any(character in "\r\n\0" for character in header):
        return None
    pair, _, rest = header.partition(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(" \t"), value.strip(" \t")
    if len(name.encode()) + len(value.encode()) > 4096:
        return None
    seen: dict[str, str] = {}
    for part in rest.split(";"):
        key, _, text = part.partition("=")
        if len(text.strip(" \t").encode()) <= 1024:
            seen[key.strip(" \t").lower()] = text.strip(" \t")
    lowered = name.lower()
    needs = {need for prefix, all_of in PREFIXES.items() if lowered.startswith(prefix.lower())
             for need in all_of}  # fmt: skip
    if needs & {"secure", "httponly"} - seen.keys():
        return None
    if "host" in needs and (seen.get("path") != "/" or "domain" in seen):
        return None
    if "secure" not in seen and (
        "partitioned" in seen or seen.get("samesite", "").lower() == "none"
    ):
        return None
    return name, value, seen


def cookie_with(given: dict[str, Any]) -> dict[str, Any]:
    return {"name": "id", "value": "1", **given}


def written(**given: Any) -> str | None:
    try:
        return set_cookie(**given)
    except InvalidSetting:
        return None


@settings(max_examples=runs(1500))
@given(
    name=st.sampled_from([*PREFIXES, "id"]).flatmap(
        lambda prefix: st.sampled_from([prefix, prefix.upper(), prefix.lower(), "x" + prefix])
    ),
    value=mostly("", "1", "a=b", "(x)", "__Host-a=1"),
    path=mostly("/", "/", "/shop", "/a=b/"),
    domain=mostly(None, None, "shop.example", ".a"),
    max_age=st.sampled_from([None, 0, 60]) | st.integers(-1, 2**32),
    http_only=st.booleans(),
    secure=st.booleans(),
    same_site=mostly("Lax", "Strict", "None", None),
    partitioned=st.booleans(),
    attributes=st.none() | st.dictionaries(
        mostly("Priority", "priority", "Later", "x"), mostly("High", None, "a b=c, d"), max_size=3
    ),
)  # fmt: skip
@example("__Host-Http-", "", "/", None, None, False, True, "Lax", False, None)
@example("id", "", "/", None, None, True, True, "Lax", False, {"DOMAIN": "evil.example"})
@example("id", "", "/", None, None, True, True, "Lax", False, {"A": "1", "a": "2"})
def test_what_a_browser_stores_is_what_was_asked_for(
    name: str, value: str, path: str, domain: str | None, max_age: int | None, http_only: bool,
    secure: bool, same_site: str | None, partitioned: bool,
    attributes: Mapping[str, str | None] | None,
) -> None:  # fmt: skip
    header = written(
        name=name, value=value, path=path, domain=domain, max_age=max_age, http_only=http_only,
        secure=secure, same_site=same_site, partitioned=partitioned, attributes=attributes,
    )  # fmt: skip
    if header is None:
        return
    assert header.isascii()
    assert header.isprintable()
    expected: dict[str, str | None] = {
        "path": path, "domain": domain, "samesite": same_site,
        "max-age": None if max_age is None else str(max_age),
        "httponly": "" if http_only else None, "secure": "" if secure else None,
        "partitioned": "" if partitioned else None,
    }  # fmt: skip
    further = {key.lower(): text or "" for key, text in (attributes or {}).items()}
    assert len(further) == len(attributes or {})
    assert not further.keys() & set(ATTRIBUTES)
    seen = {key: text for key, text in expected.items() if text is not None} | further
    assert stored(header) == (name, value, seen)
    assert cookies(header.partition(";")[0]) == {name: value}


@pytest.mark.parametrize("prefix", [*PREFIXES])
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper, str.swapcase])
def test_a_prefix_is_written_exactly_when_a_browser_accepts_it(prefix: str, spelled: Any) -> None:
    accepted = 0
    for number in range(16):
        http_only, secure, at_root, of_host = (bool(number >> bit & 1) for bit in range(4))
        header = written(
            name=spelled(prefix) + "id", value="1", path="/" if at_root else "/shop",
            domain=None if of_host else "a.example", http_only=http_only, secure=secure,
        )  # fmt: skip
        needs = PREFIXES[prefix]
        fits = secure and (http_only or "httponly" not in needs)
        fits = fits and ((at_root and of_host) or "host" not in needs)
        assert (header is not None) == fits
        accepted += fits
    assert accepted == {"__Secure-": 8, "__Host-": 2, "__Http-": 4, "__Host-Http-": 1}[prefix]


@pytest.mark.parametrize("text", INJECTIONS, ids=repr)
def test_nothing_can_be_injected_anywhere(text: str) -> None:
    places: list[dict[str, Any]] = [
        {part: before + text + after}
        for part in ("name", "value", "path", "domain", "same_site")
        for before, after in (("", ""), ("a", ""), ("", "a"), ("a", "b"), ("/", ""), ("Lax", ""))
    ]
    for before, after in (("", ""), ("a", ""), ("", "a"), ("a", "b")):
        places += [{"attributes": {before + text + after: "1"}}]
        places += [{"attributes": {before + text + after: None}}]
        places += [{"attributes": {"Priority": before + text + after}}]
    for place in places:
        with pytest.raises(InvalidSetting):
            set_cookie(**cookie_with(place))
        if "value" not in place:
            with pytest.raises(InvalidSetting):
                CookieSessions(pool_of(), tokens(), **place)


@pytest.mark.parametrize(
    "attributes",
    [{name: value} for known in [*sorted(ATTRIBUTES), "expires"]
     for value in (None, "1", "evil.example")
     for name in (known, known.upper(), known.title())]
    + [{"A": "1", "a": "1"}, {"": "1"}, {"a=b": "1"}, {"a b": "1"}, {" a": "1"}, {"a": ""},
       {"a": " 1"}, {"a": "1 "}, {"a": "1;b"}, {"a": 1}, {1: "a"}, {None: None}, {b"a": "1"},
       {"a": "x" * 1025}, {"a": b"1"}, "Priority=High", ["Priority=High"], [("a", "1")], 7,
       {"Priority"}],
    ids=str,
)  # fmt: skip
def test_further_attributes_that_are_refused(attributes: Any) -> None:
    with pytest.raises(InvalidSetting, match="attribute"):
        set_cookie("id", "1", attributes=attributes)
    with pytest.raises(InvalidSetting, match="attribute"):
        CookieSessions(pool_of(), tokens(), attributes=attributes)


@pytest.mark.parametrize(
    ("given", "fits"),
    [({"name": "n" * 4095}, True), ({"name": "n" * 4096}, False), ({"value": "v" * 4094}, True),
     ({"value": "v" * 4095}, False), ({"path": "/" + "p" * 1023}, True),
     ({"path": "/" + "p" * 1024}, False), ({"domain": "d" * 1024}, True),
     ({"domain": "d" * 1025}, False), ({"attributes": {"A": "a" * 1024}}, True),
     ({"attributes": {"A": "a" * 1025}}, False), ({"value": "v" * 1_000_000}, False),
     ({"max_age": 2**31 - 1}, True), ({"max_age": 2**31}, False), ({"max_age": 10**5000}, False),
     ({"max_age": -(10**5000)}, False)],
    ids=lambda given: str(given)[:30] if isinstance(given, bool) else str([*given])[:30],
)  # fmt: skip
def test_a_cookie_that_is_too_large_for_browsers_is_refused(
    given: dict[str, Any], fits: bool
) -> None:
    header = written(**cookie_with(given))
    assert (header is not None) == fits
    assert header is None or stored(header) is not None
    assert (
        not fits or given.keys() & {"name", "value"} or CookieSessions(pool_of(), tokens(), **given)
    )


def test_a_name_that_leaves_no_room_for_a_token_is_refused_at_construction() -> None:
    CookieSessions(pool_of(), tokens(), name="n" * (4096 - 107))
    with pytest.raises(InvalidSetting, match="4096"):
        CookieSessions(pool_of(), tokens(), name="n" * (4097 - 107))


@pytest.mark.parametrize("flag", ["http_only", "secure", "partitioned"])
@pytest.mark.parametrize("value", [None, 0, 1, "", "false", "True", [], b"1"])
def test_a_flag_is_a_bool(flag: str, value: Any) -> None:
    """The text "false" would count as True, and None would drop Secure silently."""
    given: dict[str, Any] = {flag: value}
    with pytest.raises(InvalidSetting, match=flag):
        set_cookie("id", "1", **given)
    with pytest.raises(InvalidSetting, match=flag):
        CookieSessions(pool_of(), tokens(), **given)


HOSTILE = [
    "", ";", "=", ";;;=;;;", "=; =;", COOKIE, f"{COOKIE}=", f"={COOKIE}", f"{COOKIE}=;" * 1000,
    f'{COOKIE}="', f'{COOKIE}=""', f"{COOKIE}==", f"{COOKIE}\0=x", f"\0{COOKIE}=x",
    f"{COOKIE}=\r\nX: y", "\ud800=\udfff", f"{COOKIE}=\ud800", f"{COOKIE.lower()}=x",
    f"{COOKIE}=" + "x" * 1_000_000, "x" * 1_000_000, ("a" * 100 + "; ") * 10_000,
    f"{COOKIE} " * 10_000, '"; ' * 10_000, f'"{COOKIE}=x', "$Version=1; $Path=/; a=b",
    f"a={COOKIE}=x", f"{COOKIE}=x, {COOKIE}=y", f"\u00a0{COOKIE}=x", f"\x85{COOKIE}=x",
]  # fmt: skip


@pytest.mark.parametrize("header", HOSTILE, ids=lambda header: repr(header)[:30])
def test_no_cookie_header_raises_or_binds(header: str) -> None:
    parsed = cookies(header)
    assert cookie(header, COOKIE) == parsed.get(COOKIE)
    assert all(name and ";" not in name + value for name, value in parsed.items())
    sticky = CookieSessions(pool_of(), tokens())
    for headers in ([header], [header] * 3, ["theme=dark", header]):
        request = Request(headers=[("Cookie", text) for text in headers])
        found = sticky.resolve(request, 0.0, WALL)
        assert found.backend is None
        assert found.reason in {"absent", "malformed"}


def test_a_cookie_without_a_name_cannot_pass_as_one_with_a_prefix() -> None:
    """Browsers send the nameless cookie ``=__Host-session-server=x`` as ``__Host-…=x``.

    So browsers refuse to store such a cookie.  Here, none can be written: the name is required.
    """
    for name in ("", "=", " ", "=__Host-id"):
        with pytest.raises(InvalidSetting, match="name"):
            set_cookie(name, "__Host-id=1")
    assert cookies("=__Host-id=1") == {}
    assert cookie("=__Host-id=1", "__Host-id") is None
