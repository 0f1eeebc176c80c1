"""Hostile session tokens: what a client sends is genuine, or it is refused with a reason."""

from itertools import product
from math import inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers.errors import InvalidTime
from balancers.http import Request
from balancers.sessions import CookieSessions, HeaderSessions, SessionTokens
from balancers.sessions._identity_index import digest_of
from balancers.sessions.tokens import Claim
from tests.depth import runs
from tests.sessions.forge import ALPHABET, raw, text
from tests.sessions.samples import (
    COOKIE,
    KEY,
    OLD_KEY,
    WALL,
    cookie_of,
    pool_of,
    tokens,
    tokens_of,
)

STICKY = CookieSessions(pool_of(), tokens([KEY, OLD_KEY]), context="shop")
BY_HEADER = HeaderSessions(pool_of(), tokens([KEY, OLD_KEY]), context="shop")
GENUINE = tokens_of(STICKY).seal(digest_of("a"), WALL)
REFUSED = {"absent", "malformed", "forged"}


def reason(token: str) -> str:
    """Return why a cookie with this token is refused; the token in a header must be refused too."""
    as_header = BY_HEADER.resolve(Request(headers=[("X-Session-Server", token)]), 0.0, WALL)
    assert as_header.reason in REFUSED
    assert as_header.backend is None
    found = STICKY.resolve(Request(headers=[("Cookie", f"{COOKIE}={token}")]), 0.0, WALL)
    assert (found.backend is None) == (found.reason != "")
    return found.reason


def test_the_genuine_token_binds_only_as_the_cookie() -> None:
    assert reason(GENUINE) == ""


@pytest.mark.parametrize("place", range(80))
def test_every_other_value_of_every_byte_is_refused(place: int) -> None:
    data = bytearray(raw(GENUINE))
    right = data[place]
    for wrong in range(256):
        if wrong != right:
            data[place] = wrong
            assert reason(text(bytes(data))) == "forged"


def test_every_truncation_and_extension_is_refused() -> None:
    for length in range(107):
        assert reason(GENUINE[:length]) == "malformed"
        assert reason(GENUINE[length + 1 :]) == "malformed"
    for more in (*ALPHABET, "=", "==", "A" * 4, "A" * 107, GENUINE, "A" * 1_000_000):
        assert reason(GENUINE + more) == "malformed"
        assert reason(more + GENUINE) == "malformed"


def test_bytes_that_were_taken_out_put_in_or_moved_are_refused() -> None:
    data = raw(GENUINE)
    for place in range(80):
        assert reason(text(data[:place] + data[place + 1 :] + b"\0")) == "forged"
        assert reason(text(b"\0" + data[:place] + data[place + 1 :])) == "forged"
        assert reason(text(data[place:] + data[:place])) == ("" if not place else "forged")


def test_only_one_spelling_of_the_last_character_is_accepted() -> None:
    """It stands for four bits, so base64 decoders map four characters to the same bytes."""
    same = [end for end in ALPHABET if raw(GENUINE[:-1] + end) == raw(GENUINE)]
    assert len(same) == 4
    assert [end for end in ALPHABET if not reason(GENUINE[:-1] + end)] == [GENUINE[-1]]


def test_every_character_that_is_no_base64url_is_malformed() -> None:
    others = [chr(code) for code in range(256) if chr(code) not in ALPHABET]
    others += ["٣", "\uff13", "\uff21", "\uff41", "İ", "\u017f", "\u041a", "\u200b", "\u2028",
               "\ufeff", "\U0001f36a", "\ud800", "\udfff", "\udc41", "é", "e\u0301"]  # fmt: skip
    for wrong in others:
        for place in (0, 1, 53, 105, 106):
            token = GENUINE[:place] + wrong + GENUINE[place + 1 :]
            assert tokens_of(STICKY).open(token, WALL) == "malformed"
            assert reason(token) in REFUSED
        for token in (wrong * 107, wrong * 1_000_000, GENUINE[:-1] + wrong * 20):
            assert tokens_of(STICKY).open(token, WALL) == "malformed"


def test_standard_base64_of_a_genuine_token_is_malformed() -> None:
    while not {"-", "_"} & set(token := tokens_of(STICKY).seal(digest_of("a"), WALL)):
        pass
    assert reason(token) == ""
    assert reason(token.replace("-", "+").replace("_", "/")) == "malformed"
    assert reason(token + "=") == "malformed"


def test_genuine_tokens_of_other_keys_contexts_and_versions_are_forged() -> None:
    ident = digest_of("a")
    other_keys = (b"another key of thirty-two bytes.", KEY + b"x", KEY[:-1], KEY.upper())
    others = [
        *(tokens([key], context="shop").with_context(f"cookie {COOKIE}") for key in other_keys),
        tokens(),  # the tokens of version 0.1, which had no context
        tokens(context="shop"),
        tokens().with_context(f"cookie {COOKIE}"),
        tokens(context=f"cookie {COOKIE}").with_context("shop"),
        tokens(context=f"shopcookie {COOKIE}"),
        tokens(context="SHOP").with_context(f"cookie {COOKIE}"),
        tokens(context="shop").with_context(f"cookie {COOKIE.lower()}"),
        tokens(context="shop").with_context(f"header {COOKIE.lower()}"),
        tokens(context="shop").with_context(f"cookie {COOKIE}").with_context(""),
    ]
    for other in others:
        assert reason(other.seal(ident, WALL)) == "forged"
    again = tokens(context="shop", seed=9).with_context(f"cookie {COOKIE}")
    assert reason(again.seal(ident, WALL)) == ""


class Fixed(Random):
    """Returns the same nonce every time."""

    def randbytes(self, n: int) -> bytes:
        return bytes(n)


def test_a_repeated_nonce_reveals_differences_but_forges_nothing() -> None:
    """The documentation warns of this; parts of two tokens with one nonce are still refused."""
    sealed = tokens_of(CookieSessions(pool_of(), SessionTokens([KEY], rng=Fixed()), context="shop"))
    a, b = (raw(sealed.seal(digest_of(name), WALL)) for name in "ab")
    assert a[:16] == b[:16]
    assert reason(text(a)) == reason(text(b)) == ""
    for cuts in product((0, 1), repeat=5):
        parts = [(a, b)[cut][16 * i : 16 * i + 16] for i, cut in enumerate(cuts)]
        mixed = b"".join(parts)
        assert reason(text(mixed)) == ("" if mixed in (a, b) else "forged")
    difference = bytes(x ^ y for x, y in zip(digest_of("a"), digest_of("b"), strict=True))
    swapped = bytes(x ^ y for x, y in zip(a[16:32], difference, strict=True))
    assert swapped == b[16:32]
    assert reason(text(a[:16] + swapped + a[32:])) == "forged"
    assert reason(text(a)) == ""  # a token may be used again: it authorises nothing


@settings(max_examples=runs(400))
@given(
    st.text(max_size=200)
    | st.text(ALPHABET, min_size=107, max_size=107)
    | st.binary(min_size=80, max_size=80).map(text)
    | st.text(st.characters(), min_size=107, max_size=107)
)
def test_no_text_is_accepted_and_none_raises(token: str) -> None:
    assert tokens_of(STICKY).open(token, WALL) in {"malformed", "forged"}
    assert reason(token) in REFUSED


@pytest.mark.parametrize("wall", [nan, inf, -inf, 2e300, -2e300, 10**400])
def test_a_wall_clock_that_is_not_finite_is_an_error_for_every_token(wall: Any) -> None:
    sealed = tokens_of(STICKY)
    for token in (GENUINE, "", "A" * 107, "\ud800"):
        with pytest.raises(InvalidTime, match="wall"):
            sealed.open(token, wall)
    with pytest.raises(InvalidTime, match="wall"):
        STICKY.resolve(cookie_of(GENUINE), 0.0, wall)
    with pytest.raises(InvalidTime, match="wall"):
        sealed.seal(digest_of("a"), WALL, wall)
    with pytest.raises(InvalidTime, match="now"):
        STICKY.resolve(cookie_of(GENUINE), nan, WALL)


@pytest.mark.parametrize("wall", [1e300, -1e300, 0.0, -0.0, 5e-324, -1.0, 1e15])
def test_extreme_times_expire_or_are_not_yet_valid(wall: float) -> None:
    sealed = tokens_of(STICKY)
    token = sealed.seal(digest_of("a"), wall)
    assert isinstance(sealed.open(token, wall), Claim)
    expected = "expired" if wall < WALL else "not yet valid"
    assert STICKY.resolve(cookie_of(token), 0.0, WALL).reason == expected
    assert STICKY.resolve(cookie_of(GENUINE), 0.0, wall).reason == (
        "not yet valid" if wall < WALL else "expired"
    )


def test_a_clock_that_goes_back_keeps_a_session_within_the_skew() -> None:
    for back, bound in ((0, True), (59, True), (60, True), (61, False), (3600, False)):
        found = STICKY.resolve(cookie_of(GENUINE), 0.0, WALL - back)
        assert (found.bound, found.reason) == (bound, "" if bound else "not yet valid")
