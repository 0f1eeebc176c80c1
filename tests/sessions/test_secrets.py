"""Keys, session ids and what is known about a client are in no repr and in no message."""

import copy
import pickle
from typing import Any

import pytest

from balancers import Pool, RoundRobin
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http import Request, set_cookie
from balancers.interop import caddy
from balancers.keys import KeyedBlake2
from balancers.sessions import (
    AddressSessions,
    Binding,
    CookieSessions,
    HeaderSessions,
    LearnedSessions,
    SessionTokens,
)
from tests.sessions.samples import KEY, OLD_KEY, WALL, cookie_of, pool_of, token_of, tokens

SECRET = "hunter2-hunter2-hunter2"  # noqa: S105 - no password


def messages(error: BaseException | None) -> str:
    """Return the messages of an error, of its causes and of its contexts, shown or not."""
    texts: list[str] = []
    while error is not None:
        texts.append(f"{error!r} {error.args!r}")
        error = error.__cause__ or error.__context__
    return " ".join(texts)


def test_no_repr_contains_a_key() -> None:
    pool = pool_of()
    sealed = SessionTokens([KEY, OLD_KEY], context="shop")
    derived = [part for keys in sealed._keys for part in keys]
    owners: list[Any] = [
        sealed, vars(sealed), sealed._keys, CookieSessions(pool, sealed),
        HeaderSessions(pool, sealed), vars(CookieSessions(pool, sealed)),
        KeyedBlake2(SECRET.encode()), caddy.Cookie(["a"], secret=SECRET),
    ]  # fmt: skip
    for owner in owners:
        for text in (repr(owner), str(owner), f"{owner}"):
            assert SECRET not in text
            assert "thirty-two" not in text
            for part in derived:
                assert repr(part) not in text
                assert part.hex() not in text


def test_a_pickle_and_a_copy_contain_derived_keys_and_not_the_keys_themselves() -> None:
    """As documented: whoever can read the pickle can create tokens, but learns no key."""
    sealed = SessionTokens([KEY], context="shop")
    for data in (pickle.dumps(sealed), pickle.dumps(CookieSessions(pool_of(), sealed))):
        assert KEY not in data
    assert sealed._keys[0].tag in pickle.dumps(sealed)
    assert copy.deepcopy(sealed)._keys == vars(sealed)["_keys"]
    within = CookieSessions(pool_of(), sealed)
    assert not any(part in pickle.dumps(within) for part in sealed._keys[0]), (
        "a pickled cookie contains only the keys of its own context"
    )


@pytest.mark.parametrize(
    "keys", [[KEY, b"hunter2"], [KEY, KEY], [SECRET], [bytearray(KEY)], KEY, SECRET, [KEY, None],
             [[KEY]], {KEY: 1, SECRET: 2}],
)  # fmt: skip
def test_no_message_contains_a_key(keys: Any) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        SessionTokens(keys)
    for part in ("hunter2", "thirty-two"):
        assert part not in messages(refusal.value)


@pytest.mark.parametrize("secret", [b"", b"hunter2" * 10, SECRET, 7, None])
def test_no_message_contains_the_secret_of_a_hasher(secret: Any) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        KeyedBlake2(secret)
    assert "hunter2" not in messages(refusal.value)


@pytest.mark.parametrize(
    "secret", [SECRET + "\ud800", 10**30, 7, None, [SECRET], bytearray(b"hunter2")]
)
def test_no_message_contains_the_secret_of_a_cookie_of_caddy(secret: Any) -> None:
    with pytest.raises(InvalidSetting, match="secret must be") as refusal:
        caddy.Cookie(["a", "b"], secret=secret)
    assert "hunter2" not in messages(refusal.value)
    assert "0000" not in messages(refusal.value)


@pytest.mark.parametrize("end", [" ", "\n", ";", ",", '"', "\\", "\0", "é", "\ud800", "x" * 5000])
def test_no_message_contains_the_value_of_a_cookie(end: str) -> None:
    """The value is often a session id.  The message says where the invalid character is."""
    with pytest.raises(InvalidSetting, match="value must") as refusal:
        set_cookie("id", SECRET + end)
    assert "hunter2" not in messages(refusal.value)
    if len(end) == 1:
        assert f"character {len(SECRET)} is {end!r}" in str(refusal.value)


def test_a_cookie_value_of_another_type_is_not_shown() -> None:
    for value in (SECRET.encode(), [SECRET], bytearray(b"hunter2")):
        wrong: Any = value
        with pytest.raises(InvalidSetting, match=type(value).__name__) as refusal:
            set_cookie("id", wrong)
        assert "hunter2" not in messages(refusal.value)


@pytest.mark.parametrize("session", [SECRET + "\ud800", 10**30, bytearray(b"hunter2"), [SECRET]])
def test_no_message_contains_a_session_id(session: Any) -> None:
    pool = pool_of()
    table = LearnedSessions(pool)
    table.learn("known", pool.acquire(0.0), 0.0)
    with pytest.raises((InvalidKey, TypeError), match="session must be") as first:
        table.learn(session, pool.acquire(0.0), 0.0)
    with pytest.raises((InvalidKey, TypeError), match="session must be") as second:
        table.forget(session)
    for refusal in (first, second):
        assert "hunter2" not in messages(refusal.value)
        assert "0000" not in messages(refusal.value)
    assert len(table) == 1


@pytest.mark.parametrize(
    ("target", "host"),
    [("/cart?token=hunter2", "shop.example"), ("http://me:hunter2@shop.example/cart", "a"),
     ("http://me:hunter2@shop.example", ""), ("me:hunter2@shop.example:443", ""), ("*", ""),
     ("?hunter2", ""), ("/", "me:hunter2@shop.example"), ("/cart?a=/?hunter2@x", "x@y@z")],
)  # fmt: skip
def test_the_repr_of_a_request_shows_no_credentials(target: str, host: str) -> None:
    sent = [("Cookie", "id=hunter2"), ("authorization", "Basic hunter2"), ("X", "hunter2")]
    for headers in (sent, tuple(sent)):
        request = Request("GET", target, host, headers)
        for text in (repr(request), str(request), f"{[request]}"):
            assert "hunter2" not in text
            assert "'Cookie', 'authorization', 'X'" in text
    assert repr(Request()) == "<Request: 'GET' '/', host '', headers []>"
    assert Request("GET", target, host, sent) == Request("GET", target, host, sent)


def test_the_repr_of_a_binding_shows_nothing_about_the_client() -> None:
    pool = Pool(RoundRobin([*"ab"]))
    by_cookie, by_name = CookieSessions(pool, tokens()), HeaderSessions(pool, trusted=True)
    learned, by_address = LearnedSessions(pool), AddressSessions(pool)
    lease = pool.acquire(0.0)
    token = token_of(by_cookie.issue(lease, WALL, Binding()))
    learned.learn(SECRET, lease, 0.0)
    by_address.issue(lease, 0.0, by_address.resolve("192.0.2.1", 0.0))
    for found in (
        by_cookie.resolve(cookie_of(token), 0.0, WALL + 1),
        by_name.resolve(Request(headers=[("X-Session-Server", "a")]), 0.0, WALL),
        learned.resolve(SECRET, 1.0),
        by_address.resolve("192.0.2.1", 1.0),
    ):
        assert found.ticket is not None
        assert repr(found) == "Binding(backend='a', reason='', strict=False, full=False)"
        assert str(found) == repr(found)
        assert found == tuple(found)
        assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - own
