"""Rows for routes and splits."""

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice

from balancers.http import Request
from balancers.routing import Route, Router, Split
from tests.benchmarks.floors import KEYS, attribute
from tests.benchmarks.measure import Run
from tests.benchmarks.row import Row

__all__ = ["rows"]

FEW, MANY = 10, 10_000


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    yield Row("Router, a match", MANY, "among 10", 3, partial(_match, True))
    yield Row("Router, no match", MANY, "among 10", 3, partial(_match, False))
    yield Row("Split, a pick of two", 2, "U", 200, _split)


def _match(found: bool) -> tuple[Run, Run]:
    return _run(MANY, found), _run(FEW, found)


def _run(n: int, found: bool) -> Run:
    """Match ten requests in turn; they match the last ten routes of a table of any size."""
    hosts = [None, "shop.example", "*.example"]
    router = Router(
        [
            Route(
                i,
                host=hosts[(n - i) % 3],
                path=f"/service-{n - i}/users/{{id}}/posts/{{rest...}}",
                methods=["GET", "POST"],
                headers={} if (n - i) % 4 else {"x-version": "2"},
            )
            for i in range(n)
        ]
    )
    headers = [("Accept", "*/*"), ("X-Version", "2"), ("Cookie", "session=42")]
    requests = [
        Request(
            "GET",
            f"/service-{i if found else -i}/users/7/posts/2026/11?page=2",
            "shop.example:443",
            headers,
        )
        for i in range(1, FEW + 1)
    ]
    values = [router.match(request).value for request in requests]
    assert values == ([n - i for i in range(1, FEW + 1)] if found else [None] * FEW)

    def run(times: int) -> None:
        match = router.match
        for request in islice(cycle(requests), times):
            match(request)

    return run


def _split() -> tuple[Run, Run]:
    split = Split({"stable": 90, "canary": 10}, salt="shop")
    pick = split.pick
    assert {pick(key) for key in KEYS[:100]} == {"stable", "canary"}

    def run(times: int) -> None:
        for key in islice(cycle(KEYS), times):
            pick(key)

    return run, attribute()
