"""Sessions by cookie and by header: looked up, refreshed, moved, refused."""

import copy
import pickle
from math import inf, nan
from typing import Any

import pytest

from balancers import ConnectionLimit, Drain, HealthChecks, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import DuplicateBackend, ForeignLease, InvalidSetting, InvalidTime
from balancers.http import Request
from balancers.sessions import Binding, CookieSessions, HeaderSessions
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


def test_a_browser_stays_on_its_backend() -> None:
    pool = pool_of()
    sticky = CookieSessions(pool, tokens())
    browsers = [Browser() for _ in range(6)]
    homes = [browser.visit(pool, sticky, 0.0)[1].backend for browser in browsers]
    assert sorted(homes) == [*"aabbcc"]
    for now in range(1, 100):
        for browser, home in zip(browsers, homes, strict=True):
            found, lease = browser.visit(pool, sticky, float(now))
            assert (found.backend, found.bound, lease.backend, lease.bound) == (
                home, True, home, True,
            )  # fmt: skip
    assert [browser.cookies_received for browser in browsers] == [1] * 6


def test_each_reason() -> None:
    health = HealthChecks[str](unhealthy_threshold=1)
    pool = pool_of(gates=[health])
    sticky = CookieSessions(pool, tokens(idle_timeout=100.0, clock_skew=5.0))
    sealed = tokens_of(sticky)
    token = sealed.seal(digest_of("a"), WALL)
    not_a_member = sealed.seal(digest_of("z"), WALL)

    def found(request: Request, later: float = 0.0) -> Binding[str]:
        return sticky.resolve(request, 0.0, WALL + later)

    assert found(cookie_of(token))[:3] == ("a", "", False)
    assert found(Request())[:2] == (None, "absent")
    assert found(cookie_of(""))[:2] == (None, "malformed")
    assert found(cookie_of(token[:-1]))[:2] == (None, "malformed")
    assert found(cookie_of("A" * 107))[:2] == (None, "forged")
    assert found(cookie_of(token), 101.0)[:2] == (None, "expired")
    assert found(cookie_of(token), -6.0)[:2] == (None, "not yet valid")
    assert found(cookie_of(not_a_member))[:2] == (None, "unknown backend")
    health.observe("a", False, 1.0)
    assert found(cookie_of(token))[:2] == ("a", "closed")
    assert not found(cookie_of(token)).bound


def test_a_cookie_is_sent_only_to_refresh_and_a_refresh_keeps_the_start_time() -> None:
    pool, sealed = pool_of("a"), tokens(idle_timeout=100.0, lifetime=250.0)
    sticky, browser = CookieSessions(pool, sealed), Browser()
    sent: list[int] = []
    for now in range(0, 252, 5):
        before = browser.cookies_received
        found, _ = browser.visit(pool, sticky, float(now))
        assert found.bound == (now > 0)
        if browser.cookies_received > before:
            sent.append(now)
        if now == 250:
            break
    assert sent == [*range(0, 251, 25)]
    found, _ = browser.visit(pool, sticky, 251.0)
    assert found.reason == "expired"
    assert browser.visit(pool, sticky, 252.0)[0].bound


def test_a_session_moves_when_its_backend_is_closed_and_starts_anew() -> None:
    health = HealthChecks[str](unhealthy_threshold=1, healthy_threshold=1)
    pool = pool_of("ab", [health])
    sticky, browser = CookieSessions(pool, tokens(lifetime=1000.0)), Browser()
    home = browser.visit(pool, sticky, 0.0)[1].backend
    health.observe(home, False, 500.0)
    found, lease = browser.visit(pool, sticky, 500.0)
    assert (found.reason, found.backend == home, lease.backend == home) == ("closed", True, False)
    health.observe(home, True, 501.0)
    again, same = browser.visit(pool, sticky, 1400.0)
    assert (again.bound, again.backend, same.backend) == (True, lease.backend, lease.backend)


def test_strict_sessions_are_refused_while_their_backend_is_closed() -> None:
    health = HealthChecks[str](unhealthy_threshold=1, healthy_threshold=1)
    pool = pool_of("ab", [health])
    sticky = CookieSessions(pool, tokens(), failover="strict")
    browser = Browser()
    home = browser.visit(pool, sticky, 0.0)[1].backend
    health.observe(home, False, 1.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        browser.visit(pool, sticky, 1.0)
    assert refusal.value.reason == "unhealthy"
    health.observe(home, True, 2.0)
    assert browser.visit(pool, sticky, 2.0)[1].backend == home
    pool.remove(home, 3.0)
    found, lease = browser.visit(pool, sticky, 3.0)
    assert (found.reason, found.strict, lease.backend == home) == ("unknown backend", False, False)
    assert Browser().visit(pool, sticky, 4.0)[1].backend == lease.backend


def test_a_draining_backend_keeps_its_sessions_and_gets_no_new_ones() -> None:
    drain = Drain[str](timeout=30.0)
    pool = pool_of("ab", [drain])
    sticky = CookieSessions(pool, tokens())
    browsers = [Browser() for _ in range(8)]
    homes = [browser.visit(pool, sticky, 0.0)[1].backend for browser in browsers]
    drain.begin("a", 1.0)
    for now in (2.0, 20.0):
        for browser, home in zip(browsers, homes, strict=True):
            assert browser.visit(pool, sticky, now)[1].backend == home
    new_browsers = [Browser().visit(pool, sticky, 21.0)[1].backend for _ in range(8)]
    assert set(new_browsers) == {"b"}
    pool.set_weight("b", 0, 22.0)
    assert browsers[homes.index("b")].visit(pool, sticky, 22.0)[1].backend == "b"


def test_a_full_backend_is_closed_to_its_own_sessions_too() -> None:
    pool = pool_of("ab", [ConnectionLimit(1)])
    sticky, browser = CookieSessions(pool, tokens()), Browser()
    home = browser.visit(pool, sticky, 0.0)[1].backend
    pool.acquire(0.0, prefer=home)
    assert sticky.resolve(browser.request(), 0.0, WALL).reason == "closed"


def test_an_old_key_is_replaced_at_the_next_visit() -> None:
    pool, browser = pool_of(), Browser()
    old = CookieSessions(pool, tokens([OLD_KEY]))
    home = browser.visit(pool, old, 0.0)[1].backend
    both = CookieSessions(pool, tokens([KEY, OLD_KEY], seed=2))
    assert browser.visit(pool, both, 1.0)[1].backend == home
    assert browser.cookies_received == 2
    new = CookieSessions(pool, tokens([KEY], seed=3))
    assert browser.visit(pool, new, 2.0)[0].backend == home
    assert browser.cookies_received == 2
    assert browser.visit(pool, old, 3.0)[0].reason == "forged"


def test_max_age_is_sent_and_refreshed_before_it_ends() -> None:
    pool, browser = pool_of("a"), Browser()
    sticky = CookieSessions(pool, tokens(idle_timeout=inf, lifetime=inf), max_age=40, path="/")
    set_cookie = sticky.issue(pool.acquire(0.0), WALL, Binding(None, "absent"))
    assert set_cookie is not None
    assert "; Max-Age=40; " in set_cookie
    for now in range(0, 101, 5):
        browser.visit(pool, sticky, float(now))
    assert browser.cookies_received == 1 + 10


def test_a_cookie_is_renewed_before_browsers_forget_it_after_400_days() -> None:
    pool, browser, day = pool_of("a"), Browser(), 24 * 3600.0
    years = 10 * 365 * 24 * 3600
    sticky = CookieSessions(pool, tokens(idle_timeout=inf, lifetime=inf), max_age=years)
    renewed: list[int] = []
    for number in range(0, 1000, 10):
        before = browser.cookies_received
        browser.visit(pool, sticky, number * day)
        renewed += [number] * (browser.cookies_received > before)
    assert renewed == [*range(0, 1000, 100)]


def test_the_first_cookie_that_is_bound_is_used_across_several_headers() -> None:
    sticky = CookieSessions(pool_of(), tokens())
    sealed = tokens_of(sticky)
    a, b = (sealed.seal(digest_of(name), WALL) for name in "ab")
    twice = Request(headers=[("Cookie", f"{COOKIE}={b}; {COOKIE}={a}")])
    assert sticky.resolve(twice, 0.0, WALL).backend == "b"
    stale, gone = sealed.seal(digest_of("b"), WALL - 1e6), sealed.seal(digest_of("z"), WALL)
    for others in ([stale], ["theirs"], [gone, "B" * 107], [stale, "", "x" * 107]):
        sent = [("Cookie", f"{COOKIE}={token}") for token in others]
        found = sticky.resolve(Request(headers=[*sent, ("Cookie", f"{COOKIE}={a}")]), 0.0, WALL)
        assert (found.backend, found.reason) == ("a", "")
        assert sticky.resolve(Request(headers=sent), 0.0, WALL) == sticky.resolve(
            Request(headers=sent[:1]), 0.0, WALL
        )
    several = Request(headers=[("cookie", "x=1"), ("COOKIE", f"{COOKIE}={a}"), ("Cookie", "")])
    assert sticky.resolve(several, 0.0, WALL).backend == "a"
    among = "; ".join([*(f"c{i}=" + "v" * 150 for i in range(500)), f"{COOKIE}={a}"])
    assert sticky.resolve(Request(headers=[("Cookie", among)]), 0.0, WALL).backend == "a"


def test_a_cookie_of_a_closed_backend_does_not_hide_one_of_an_open_backend() -> None:
    limit = ConnectionLimit[str](1)
    pool = Pool(RoundRobin([*"abc"]), [limit])
    sealed = tokens_of(CookieSessions(pool, tokens()))
    a, b = (sealed.seal(digest_of(name), WALL) for name in "ab")
    sent = Request(headers=[("Cookie", f"{COOKIE}={a}; {COOKIE}={b}")])
    held = pool.acquire(0.0, prefer="a")
    for failover in ("rebind", "strict"):
        sticky = CookieSessions(pool, tokens(), failover=failover)
        assert sticky.resolve(sent, 0.0, WALL)[:2] == ("b", "")
        alone = Request(headers=[("Cookie", f"{COOKIE}=x; {COOKIE}={a}")])
        assert sticky.resolve(alone, 0.0, WALL)[:2] == ("a", "closed")
    pool.release(held, 0.0)
    assert CookieSessions(pool, tokens()).resolve(sent, 0.0, WALL).backend == "a"


def test_four_cookies_are_opened_however_many_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sticky, opened = CookieSessions(pool_of(), tokens()), list[str]()
    sealed = tokens_of(sticky)
    open_one = sealed.open

    def recording(token: str, wall: float) -> Claim | str:
        opened.append(token)
        return open_one(token, wall)

    monkeypatch.setattr(sealed, "open", recording)
    flood = "; ".join(f"{COOKIE}=x{i}" for i in range(5000))
    sent = Request(headers=[("Cookie", flood), ("Cookie", f"{COOKIE}=y")])
    assert sticky.resolve(sent, 0.0, WALL).reason == "malformed"
    assert opened == ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize(
    "header", [f"{COOKIE}=\ud800", f"{COOKIE}=" + "A" * 1_000_000, "\udfff" * 70_000,
               f"{COOKIE}=é" + "é" * 106, COOKIE, "=" * 65_536, ";" * 65_536],
    ids=lambda header: repr(header)[:22],
)  # fmt: skip
def test_mistakes_of_clients_are_reasons_and_never_errors(header: str) -> None:
    pool = pool_of()
    found = CookieSessions(pool, tokens()).resolve(Request(headers=[("Cookie", header)]), 0.0, WALL)
    assert found.backend is None
    assert found.reason in {"absent", "malformed"}
    by_header = HeaderSessions(pool, tokens()).resolve(
        Request(headers=[("X-Session-Server", header)]), 0.0, WALL
    )
    assert by_header.reason == "malformed"
    trusted = HeaderSessions(pool, trusted=True).resolve(
        Request(headers=[("X-Session-Server", header)]), 0.0, WALL
    )
    assert trusted.reason in {"malformed", "unknown backend"}


def test_a_lease_on_a_backend_that_left_or_was_replaced_issues_no_cookie() -> None:
    pool = pool_of("ab")
    generation = 1
    sticky = CookieSessions(pool, tokens(), identity=lambda backend: f"{backend} {generation}")
    lease = pool.acquire(0.0)
    pool.remove(lease.backend, 1.0)
    absent: Binding[str] = Binding(None, "absent")
    assert sticky.issue(lease, WALL, absent) is None
    generation = 2
    pool.add(lease.backend, 1, 2.0)
    assert sticky.issue(lease, WALL, absent) is None
    again = pool.acquire(3.0, prefer=lease.backend)
    set_cookie = sticky.issue(again, WALL, absent)
    assert sticky.resolve(cookie_of(token_of(set_cookie)), 3.0, WALL).backend == again.backend


def test_a_lease_of_another_pool_is_refused() -> None:
    sticky = CookieSessions(pool_of(), tokens())
    with pytest.raises(ForeignLease):
        sticky.issue(pool_of().acquire(0.0), WALL, Binding(None, "absent"))


def test_header_tokens() -> None:
    pool, sealed = pool_of(), tokens()
    sticky = HeaderSessions(pool, sealed, name="X-Backend")
    found = sticky.resolve(Request(), 0.0, WALL)
    assert found.reason == "absent"
    lease = pool.acquire(0.0, prefer=found.backend)
    value = sticky.issue(lease, wall=WALL, binding=found)
    assert value is not None
    again = sticky.resolve(Request(headers=[("x-backend", f" {value} ")]), 1.0, WALL + 1)
    assert (again.backend, sticky.issue(lease, WALL + 1, again)) == (lease.backend, None)
    twice = Request(headers=[("X-Backend", value), ("X-Backend", value)])
    assert sticky.resolve(twice, 1.0, WALL).reason == "malformed"
    plain = Request(headers=[("X-Backend", "a")])
    assert sticky.resolve(plain, 1.0, WALL).reason == "malformed"


def test_trusted_names() -> None:
    pool = pool_of(["10.0.0.1:80", "10.0.0.2:80"])
    sticky = HeaderSessions(pool, trusted=True)

    def named(*names: str) -> Binding[str]:
        request = Request(headers=[("X-Session-Server", name) for name in names])
        return sticky.resolve(request, 0.0, WALL)

    found = named("10.0.0.2:80")
    assert (found.backend, found.reason) == ("10.0.0.2:80", "")
    lease = pool.acquire(0.0, prefer=found.backend)
    assert sticky.issue(lease, WALL, found) is None
    assert sticky.issue(lease, WALL, named("10.0.0.1:80")) == "10.0.0.2:80"
    assert [named("10.0.0.9:80").reason, named("").reason, named().reason] == [
        "unknown backend", "malformed", "absent",
    ]  # fmt: skip
    assert named("10.0.0.1:80", "10.0.0.2:80").reason == "malformed"
    pair: Any = ("::1", 80)
    pairs = pool_of([pair])
    assert HeaderSessions(pairs, trusted=True).issue(
        pairs.acquire(0.0), WALL, Binding(None, "absent")
    ) == "[::1]:80"  # fmt: skip


@pytest.mark.parametrize("name", ["", "a b", "a\r\nX: y", "é", b"\xff", 7])
def test_a_trusted_name_that_is_not_visible_ascii_is_refused(name: Any) -> None:
    pool: Any = pool_of([name])
    with pytest.raises(InvalidSetting, match="header"):
        HeaderSessions(pool, trusted=True)
    good = pool_of("a")
    sticky: Any = HeaderSessions(good, trusted=True)
    unchecked: Any = good
    unchecked.add(name)
    with pytest.raises(InvalidSetting, match="header"):
        sticky.issue(good.acquire(0.0, prefer=name), WALL, Binding(None, "absent"))


def same(_backend: str) -> str:
    return "same"


@pytest.mark.parametrize("make", [CookieSessions, HeaderSessions])
def test_two_members_with_one_identity_are_refused_at_construction_and_later(make: Any) -> None:
    with pytest.raises(DuplicateBackend, match="'a' and 'b' are both 'same'"):
        make(pool_of("ab"), tokens(), identity=same)
    pool, sealed = pool_of("a"), tokens()
    sticky = make(pool, sealed, identity=same)
    pool.add("b", 1, 1.0)
    with pytest.raises(DuplicateBackend):
        sticky.issue(pool.acquire(1.0, prefer="b"), WALL, Binding(None, "absent"))
    pool.remove("a", 2.0)
    token = sticky.issue(pool.acquire(2.0), WALL, Binding(None, "absent"))
    request = cookie_of(token_of(token)) if make is CookieSessions else Request(
        headers=[("X-Session-Server", token)]
    )  # fmt: skip
    assert sticky.resolve(request, 2.0, WALL).backend == "b"


@pytest.mark.parametrize(
    ("attributes", "prefix"),
    [({}, "__Host-"), ({"http_only": False}, "__Host-"), ({"same_site": None}, "__Host-"),
     ({"max_age": 60}, "__Host-"), ({"path": "/shop"}, "__Secure-"), ({"path": "/"}, "__Host-"),
     ({"domain": "a.example"}, "__Secure-"), ({"partitioned": True}, "__Host-"),
     ({"path": "/a", "domain": "a.example"}, "__Secure-"), ({"secure": False}, ""),
     ({"secure": False, "path": "/shop"}, ""), ({"secure": False, "domain": "a.example"}, "")],
    ids=str,
)  # fmt: skip
def test_the_default_name_has_the_strictest_prefix_that_the_attributes_allow(
    attributes: dict[str, Any], prefix: str
) -> None:
    pool = pool_of()
    sticky = CookieSessions(pool, tokens(), **attributes)
    set_cookie = sticky.issue(pool.acquire(0.0), WALL, Binding())
    assert set_cookie is not None
    name = set_cookie.partition("=")[0]
    assert name == f"{prefix}session-server"
    back = cookie_of(token_of(set_cookie), name, attributes.get("path", "/"))
    assert sticky.resolve(back, 0.0, WALL).bound
    named = CookieSessions(pool, tokens(), name="session-server", **attributes)
    again = named.issue(pool.acquire(0.0), WALL, Binding())
    assert again is not None
    assert again.startswith("session-server=")


def test_all_attributes_are_passed_on_and_later_changes_of_the_mapping_are_not() -> None:
    pool, further = pool_of(), {"Priority": "High"}
    sticky = CookieSessions(
        pool, tokens(), same_site="None", partitioned=True, attributes=further, max_age=60
    )
    further["Evil"] = "; Domain=evil.example"
    set_cookie = sticky.issue(pool.acquire(0.0), WALL, Binding())
    assert set_cookie is not None
    assert set_cookie.partition("; ")[2] == (
        "Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned; Priority=High"
    )
    with pytest.raises(InvalidSetting, match="attribute"):
        CookieSessions(pool, tokens(), attributes=further)


INVALID: list[dict[str, Any]] = [
    {"name": "a b"}, {"path": "shop"}, {"domain": "a;b"}, {"max_age": 0}, {"max_age": -1},
    {"same_site": "lax"}, {"failover": "maybe"}, {"same_site": "None", "secure": False},
    {"partitioned": True, "secure": False}, {"attributes": {"Path": "/"}}, {"secure": "no"},
    {"name": "__Http-id", "http_only": False}, {"name": ""}, {"name": "n" * 4000},
]  # fmt: skip


@pytest.mark.parametrize("invalid", INVALID, ids=str)
def test_an_invalid_cookie_is_refused_at_construction(invalid: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        CookieSessions(pool_of(), tokens(), **invalid)


def test_a_header_needs_either_tokens_or_trust_and_a_valid_name() -> None:
    for sealed, trusted in ((None, False), (tokens(), True)):
        with pytest.raises(InvalidSetting, match="trusted"):
            HeaderSessions(pool_of(), sealed, trusted=trusted)
    for name in ("", "a b", "a:b", "a\r\nb", "é"):
        with pytest.raises(InvalidSetting, match="header"):
            HeaderSessions(pool_of(), trusted=True, name=name)


@pytest.mark.parametrize("wall", [nan, inf, -inf])
def test_an_invalid_wall_time_is_an_error(wall: float) -> None:
    pool = pool_of()
    sticky = CookieSessions(pool, tokens())
    with pytest.raises(InvalidTime):
        sticky.resolve(cookie_of(tokens_of(sticky).seal(digest_of("a"), WALL)), 0.0, wall)
    with pytest.raises(InvalidTime):
        sticky.issue(pool.acquire(0.0), wall, Binding(None, "absent"))


def test_a_backend_without_a_name_needs_an_identity_function() -> None:
    nameless: Any = object()
    pool = pool_of([nameless])
    with pytest.raises(TypeError, match="identity="):
        CookieSessions(pool, tokens())
    sticky = CookieSessions(pool, tokens(), identity=lambda _: "the one")
    assert sticky.issue(pool.acquire(0.0), WALL, Binding(None, "absent"))


def test_a_repr_names_the_carrier_and_the_failover() -> None:
    pool = pool_of()
    by_cookie = CookieSessions(pool, tokens(), name="backend", path="/shop")
    by_token, by_name = HeaderSessions(pool, tokens()), HeaderSessions(pool, trusted=True)
    assert repr(by_cookie) == "<CookieSessions: cookie 'backend', path '/shop', failover rebind>"
    header = "header 'X-Session-Server'"
    assert repr(by_token) == f"<HeaderSessions: {header}, sealed tokens, failover rebind>"
    assert repr(by_name) == f"<HeaderSessions: {header}, plain names, failover rebind>"


def test_copies_belong_to_the_copied_pool() -> None:
    pool, browser = pool_of(), Browser()
    sticky = CookieSessions(pool, tokens())
    home = browser.visit(pool, sticky, 0.0)[1].backend
    for copied_pool, copied in (
        copy.deepcopy((pool, sticky)),
        pickle.loads(pickle.dumps((pool, sticky))),  # noqa: S301 - own
    ):
        assert browser.visit(copied_pool, copied, 1.0)[0].backend == home
        copied_pool.remove(home, 2.0)
        assert copied.resolve(browser.request(), 2.0, WALL).reason == "unknown backend"
        assert sticky.resolve(browser.request(), 2.0, WALL).backend == home
    named = HeaderSessions(pool, trusted=True)
    _, copied_named = copy.deepcopy((pool, named))
    assert pickle.loads(pickle.dumps(named)) is not None  # noqa: S301 - own
    request = Request(headers=[("X-Session-Server", "b")])
    assert copied_named.resolve(request, 0.0, WALL).backend == "b"


@pytest.mark.parametrize("now", [1.0, 10.9, 11.0, 30.0])
def test_a_session_is_bound_if_the_pool_would_accept_it_at_that_time(now: float) -> None:
    """Also if a backend opened by time and the pool was not used since then."""
    pool = pool_of("ab", gates=[HealthChecks[str](1, recovery_time=10.0)])
    sticky = CookieSessions(pool, tokens())
    lease = pool.acquire(0.0)
    token = token_of(sticky.issue(lease, WALL, Binding()))
    pool.release(lease, 1.0, ok=False)
    found = sticky.resolve(cookie_of(token), now, WALL + 1)
    assert found.bound is (now >= 11.0)
    assert (pool.acquire(now, prefer=found.backend).backend == "a") is found.bound
