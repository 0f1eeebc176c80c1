"""A token is valid in one context: of one pool, and of one cookie or header."""

import copy
import hmac
import pickle
import struct
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from itertools import product
from math import inf
from random import SystemRandom
from typing import Any

import pytest

from balancers.errors import InvalidSetting
from balancers.http import Request
from balancers.sessions import Binding, CookieSessions, HeaderSessions, SessionTokens
from balancers.sessions import tokens as module
from balancers.sessions._identity_index import digest_of
from balancers.sessions.tokens import Claim
from tests.sessions.samples import (
    COOKIE,
    KEY,
    OLD_KEY,
    WALL,
    Browser,
    cookie_of,
    pool_of,
    token_of,
    tokens,
    tokens_of,
)

IDENT = digest_of("a")
Sticky = CookieSessions[str] | HeaderSessions[str]
CONTEXTS: list[str | bytes] = ["", "a", "b", "ab", "shop", "Shop", "shop\0", " shop", "cookie id",
                               "header x-a", "é", b"\0", b"\xff", "a" * 10_000, KEY]  # fmt: skip


def sent(sticky: Sticky, token: str) -> Request:
    """Return a request with a token where the sessions object reads it."""
    if isinstance(sticky, CookieSessions):
        return cookie_of(token, sticky._name)
    return Request(headers=[(sticky._name, token)])


def issued(sticky: Sticky, pool: Any) -> str:
    value = sticky.issue(pool.acquire(0.0, prefer="a"), WALL, Binding())
    assert value is not None
    return token_of(value) if isinstance(sticky, CookieSessions) else value


def test_a_token_of_one_place_binds_in_no_other() -> None:
    """Every combination of three contexts: of the tokens, of the pool, and of the cookie or header.

    All pools have the same keys and backends of the same names.
    """
    places: list[Sticky] = []
    for base, context in [*product(("", "a", "cookie id"), CONTEXTS)]:
        sealed = tokens(context=base)
        for name in ("id", "a"):
            places.append(CookieSessions(pool_of(), sealed, context=context, name=name))
            places.append(HeaderSessions(pool_of(), sealed, context=context, name=name))
    one_of_each = [tokens_of(place).seal(IDENT, WALL) for place in places]
    one_of_each += [tokens(context=context).seal(IDENT, WALL) for context in CONTEXTS]
    for number, place in enumerate(places):
        for other in range(number % 7, len(one_of_each), 7):
            found = place.resolve(sent(place, one_of_each[other]), 0.0, WALL)
            assert found.reason == ("" if number == other else "forged"), (place, other)
        assert place.resolve(sent(place, one_of_each[number]), 0.0, WALL).backend == "a"


def test_contexts_cannot_be_confused_by_moving_their_boundaries() -> None:
    """The same characters, cut elsewhere, and with one more or one less empty context."""
    chains = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("", "", "abc"),
              ("a", "b", "c"), ("c", "b", "a"), ("ab", "", "c"), ("a\0b", "c"), ()]  # fmt: skip
    bound: list[SessionTokens] = []
    for chain in chains:
        sealed = tokens()
        for context in chain:
            sealed = sealed.with_context(context)
        bound.append(sealed)
    for place, one in enumerate(bound):
        opened = [other.open(one.seal(IDENT, WALL), WALL) for other in bound]
        assert [isinstance(claim, Claim) for claim in opened] == [
            other == place for other in range(len(bound))
        ]


def test_the_context_of_the_constructor_is_the_first_one() -> None:
    token = tokens(context="shop").seal(IDENT, WALL)
    assert isinstance(tokens().with_context("shop").open(token, WALL), Claim)
    assert isinstance(tokens(context=b"shop").open(token, WALL), Claim)
    assert tokens().open(token, WALL) == "forged"
    assert isinstance(tokens(context="").open(tokens().seal(IDENT, WALL), WALL), Claim)


def test_a_text_is_its_utf_8_bytes() -> None:
    pool = pool_of()
    token = issued(CookieSessions(pool, tokens(), context="Läden"), pool)
    same = CookieSessions(pool, tokens(), context="Läden".encode())
    assert same.resolve(cookie_of(token), 0.0, WALL).backend == "a"


def test_the_case_of_a_header_name_does_not_matter_and_that_of_a_cookie_name_does() -> None:
    pool = pool_of()
    upper, lower = (HeaderSessions(pool, tokens(), name=name) for name in ("X-HOME", "x-home"))
    token = issued(upper, pool)
    for sticky, name in product((upper, lower), ("X-HOME", "x-home", "X-Home")):
        assert sticky.resolve(Request(headers=[(name, token)]), 0.0, WALL).backend == "a"
    cookies = [CookieSessions(pool, tokens(), name=name) for name in ("home", "Home")]
    token = issued(cookies[0], pool)
    assert cookies[0].resolve(cookie_of(token, "home"), 0.0, WALL).backend == "a"
    assert cookies[1].resolve(cookie_of(token, "Home"), 0.0, WALL).reason == "forged"


def test_one_object_serves_several_sessions_objects_and_does_not_change() -> None:
    sealed = tokens()
    before = dict(vars(sealed))
    pools = [pool_of() for _ in range(3)]
    shop, admin = (
        CookieSessions(pool, sealed, context=name)
        for pool, name in zip(pools, ("shop", "admin"), strict=False)
    )
    by_header = HeaderSessions(pools[2], sealed, context="shop")
    own: list[tuple[Sticky, Any]] = [(shop, pools[0]), (admin, pools[1]), (by_header, pools[2])]
    for sticky, pool in own:
        token = issued(sticky, pool)
        assert [other.resolve(sent(other, token), 0.0, WALL).bound for other, _ in own] == [
            other is sticky for other, _ in own
        ]
        assert sealed.open(token, WALL) == "forged"
    assert vars(sealed) == before
    assert isinstance(sealed.open(sealed.seal(IDENT, WALL), WALL), Claim)
    several = (sealed, tokens_of(shop), tokens_of(admin)) * 9
    written = {one.seal(IDENT, WALL)[:21] for one in several}
    assert len(written) == 27, "they share the generator, so no nonce is repeated"


def test_keys_are_rotated_and_tokens_renewed_in_every_context() -> None:
    pool, browser = pool_of(), Browser()
    old, both, new = (
        CookieSessions(pool, tokens(keys, seed=seed, idle_timeout=100.0), context="shop")
        for seed, keys in enumerate(([OLD_KEY], [KEY, OLD_KEY], [KEY]))
    )
    home = browser.visit(pool, old, 0.0)[1].backend
    assert browser.token is not None
    claim = tokens_of(both).open(browser.token, WALL)
    assert isinstance(claim, Claim)
    assert claim.key == 1
    assert browser.visit(pool, both, 1.0)[0].backend == home
    assert browser.cookies_received == 2
    claim = tokens_of(both).open(browser.token, WALL + 1)
    assert claim == Claim(digest_of(home), WALL, WALL + 1, 0)
    assert [browser.visit(pool, new, now)[0].backend for now in (2.0, 27.0)] == [home, home]
    assert browser.cookies_received == 3
    assert browser.visit(pool, old, 28.0)[0].reason == "forged"


def pickled(original: Any) -> Any:
    return pickle.loads(pickle.dumps(original))  # noqa: S301 - own


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_copies_have_the_same_context(again: Callable[[Any], Any]) -> None:
    pool = pool_of()
    sealed = tokens(context="one").with_context("two")
    assert isinstance(again(sealed).open(sealed.seal(IDENT, WALL), WALL), Claim)
    assert again(sealed).with_context("three").open(sealed.seal(IDENT, WALL), WALL) == "forged"
    for sticky in (
        CookieSessions(pool, SessionTokens([KEY]), context="shop"),
        HeaderSessions(pool, SessionTokens([KEY]), context="shop"),
    ):
        copied = again(sticky)
        assert copied.resolve(sent(sticky, issued(sticky, pool)), 0.0, WALL).bound
        written = again((pool, sticky))
        assert sticky.resolve(sent(sticky, issued(written[1], written[0])), 0.0, WALL).bound


def test_another_process_derives_the_same_keys() -> None:
    code = (
        "import sys; from balancers.sessions import CookieSessions; "
        "from tests.sessions.samples import cookie_of, pool_of, tokens, WALL; "
        "sticky = CookieSessions(pool_of(), tokens(context='all'), context='Läden', name='home'); "
        "print(sticky.resolve(cookie_of(sys.argv[1], 'home'), 0.0, WALL).backend)"
    )
    pool = pool_of()
    sealed = SessionTokens([KEY], context=b"all")
    token = issued(CookieSessions(pool, sealed, context="Läden", name="home"), pool)
    run = subprocess.run(
        [sys.executable, "-c", code, token],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert run.stdout == "a\n"


def derived(key: bytes, *contexts: bytes) -> tuple[bytes, bytes]:
    """Return the tag key and the mask key, computed step by step as documented."""

    def hmac_of(secret: bytes, message: bytes) -> bytes:
        return hmac.new(secret, message, sha256).digest()

    label = b"balancers session token 1: "
    for context in contexts:
        key = hmac_of(hmac_of(key, label + b"bind"), context)
    return hmac_of(key, label + b"seal"), hmac_of(key, label + b"hide")


@pytest.mark.parametrize("base", [(), (b"all",)])
def test_a_token_that_was_computed_by_hand_binds(base: tuple[bytes, ...]) -> None:
    sealed = tokens(context=b"".join(base))
    for sticky, place in (
        (CookieSessions(pool_of(), sealed, context="shop"), b"cookie " + COOKIE.encode()),
        (HeaderSessions(pool_of(), sealed, context="shop"), b"header x-session-server"),
    ):
        tag_key, mask_key = derived(KEY, *base, b"shop", place)
        nonce = bytes(range(16))
        block = struct.pack(">16sdd", digest_of("b"), WALL, WALL)
        stream = hmac.new(mask_key, nonce, sha256).digest()
        signed = nonce + bytes(x ^ y for x, y in zip(block, stream, strict=True))
        data = signed + hmac.new(tag_key, signed, sha256).digest()
        token = urlsafe_b64encode(data).decode().rstrip("=")
        assert sticky.resolve(sent(sticky, token), 0.0, WALL).backend == "b"


@pytest.mark.parametrize("keys", [1, 2, 5])
def test_keys_are_derived_once_and_a_request_costs_two_hmacs(
    keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, real = 0, hmac.digest

    def counted(*arguments: Any) -> bytes:
        nonlocal computed
        computed += 1
        return real(*arguments)

    monkeypatch.setattr(module, "digest", counted)
    pool = pool_of()
    sealed = tokens([KEY, *(OLD_KEY + bytes([number]) for number in range(1, keys))])
    assert computed == 3 * keys
    for make in (CookieSessions[str], HeaderSessions[str]):
        computed = 0
        sticky = make(pool, sealed, context="shop")
        assert computed == 2 * 4 * keys
        computed = 0
        token = issued(sticky, pool)
        assert computed == 2
        for now in range(100):
            computed = 0
            assert sticky.resolve(sent(sticky, token), float(now), WALL).bound
            assert computed == 2
        computed = 0
        assert sticky.resolve(sent(sticky, "A" * 107), 0.0, WALL).reason == "forged"
        assert computed == keys


@pytest.mark.parametrize("context", [None, 7, True, [KEY], (KEY,), bytearray(KEY), memoryview(KEY),
                                     "\ud800", "shop\udfff", 1.5])  # fmt: skip
def test_an_invalid_context_is_refused_and_not_shown(context: Any) -> None:
    """A key that was passed by mistake must not reach a log."""
    sealed = tokens()
    for make in (
        lambda: tokens(context=context),
        lambda: sealed.with_context(context),
        lambda: CookieSessions(pool_of(), sealed, context=context),
        lambda: HeaderSessions(pool_of(), sealed, context=context),
    ):
        with pytest.raises(InvalidSetting, match="context must be") as refusal:
            make()
        assert "thirty-two" not in str(refusal.value)
        assert refusal.value.__context__ is None


def test_plain_names_have_no_context() -> None:
    with pytest.raises(InvalidSetting, match="context"):
        HeaderSessions(pool_of(), trusted=True, context="shop")
    HeaderSessions(pool_of(), trusted=True, context="")


def test_the_default_generator_is_the_one_of_the_operating_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only ``seal`` draws from it, 16 bytes each time."""
    drawn: list[int] = []

    def randbytes(_self: SystemRandom, count: int) -> bytes:
        drawn.append(count)
        return bytes(count)

    monkeypatch.setattr(SystemRandom, "randbytes", randbytes)
    pool = pool_of()
    sticky = CookieSessions(pool, SessionTokens([KEY]), context="shop")
    assert drawn == []
    token = issued(sticky, pool)
    assert drawn == [16]
    assert sticky.resolve(cookie_of(token), 0.0, WALL).bound
    pickle.loads(pickle.dumps(sticky))  # noqa: S301 - own
    assert drawn == [16]
    monkeypatch.undo()
    sealed = SessionTokens([KEY])
    assert len({sealed.seal(IDENT, WALL) for _ in range(1000)}) == 1000


def test_two_keys_that_hmac_cannot_distinguish_are_one_key() -> None:
    """HMAC pads a short key with zeros and hashes a long one."""
    long = b"k" * 100
    for pair in ([KEY, KEY + b"\0"], [KEY, KEY + bytes(32)], [long, sha256(long).digest()]):
        with pytest.raises(InvalidSetting, match="2 given, 1 different") as refusal:
            tokens(pair)
        assert "kkk" not in str(refusal.value)


def test_an_infinite_idle_timeout_works_in_a_context() -> None:
    sealed = tokens(idle_timeout=inf, lifetime=inf).with_context("shop")
    assert (sealed.idle_timeout, sealed.lifetime) == (inf, inf)
    assert isinstance(sealed.open(sealed.seal(IDENT, WALL), WALL + 1e9), Claim)
