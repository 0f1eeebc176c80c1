"""Rows for sticky sessions, and for their cost in a weighted round robin."""

from collections.abc import Iterator
from functools import partial
from hmac import digest
from random import Random

from balancers import ConnectionLimit, Drain, HealthChecks, Pool, WeightedRoundRobin
from balancers.http import Request
from balancers.sessions import CookieSessions, LearnedSessions, SessionTokens
from tests.benchmarks.floors import attribute, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import SIZES, Row

__all__ = ["rows"]

KEY = b"a key of thirty-two bytes, here."
SENT = "theme=dark; _ga=GA1.2.1234567890.1700000000; lang=en-GB; __Host-session-server={}; cart=7"


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n in SIZES:
        prepare = partial(_cookie, n)
        yield Row("CookieSessions.resolve, a valid cookie", n, "hmac.digest", 12, prepare)
    yield Row("LearnedSessions.resolve, a known id", 10_000, "U", 250, _learned)
    for n in SIZES[:3]:
        prepare = partial(_charge, n)
        yield Row("WeightedRoundRobin, bound request", n, "a pick after a flip", 3, prepare)


def _pool(n: int) -> Pool[str]:
    return Pool(WeightedRoundRobin(weights(n)), [HealthChecks(), Drain(), ConnectionLimit(100)])


def _cookie(n: int) -> tuple[Run, Run]:
    pool, tokens = _pool(n), SessionTokens([KEY], rng=Random(1))
    sticky = CookieSessions(pool, tokens)
    sent, token = list[Request](), ""
    for backend in names(n)[:10]:
        lease = pool.acquire(1.0, prefer=backend)
        cookie = sticky.issue(lease, 1e9, sticky.resolve(Request(), 1.0, 1e9))
        assert cookie is not None
        token = cookie.partition("=")[2].partition(";")[0]
        sent.append(Request(headers=[("Host", "a"), ("Cookie", SENT.format(token))]))
        assert sticky.resolve(sent[-1], 2.0, 1e9 + 1).backend == backend
    request, data = sent[-1], token.encode()
    ours = repeated(lambda: sticky.resolve(request, 2.0, 1e9 + 1))
    return ours, repeated(lambda: digest(KEY, data, "sha256"))


def _learned() -> tuple[Run, Run]:
    pool = _pool(10)
    sticky = LearnedSessions(pool)
    lease = pool.acquire(1.0)
    for number in range(10_000):
        sticky.learn(f"session {number}", lease, 1.0)
    assert sticky.resolve("session 77", 2.0).bound
    return repeated(lambda: sticky.resolve("session 77", 2.0)), attribute()


def _charge(n: int) -> tuple[Run, Run]:
    ours, other = WeightedRoundRobin(weights(n)), WeightedRoundRobin(weights(n))
    first, last = names(n)[0], names(n)[-1]

    def charged() -> None:
        ours.started(first, 0.0, True)
        ours.pick()

    def stepped() -> None:
        other.put(last, 0)
        other.put(last, 1)
        other.pick()

    return repeated(charged), repeated(stepped)
