"""The cost of a match depends on the request, not on the table: lines of code run, no clock."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from typing import Any

import pytest

from balancers.http import Request
from balancers.routing import Route, Router
from tests.work import work_of

FEW, MANY = 10, 10_000

Table = Callable[[int], list[Route[int]]]
TABLES: dict[str, tuple[Table, Callable[[int], Request]]] = {
    "paths": (
        lambda n: [Route(i, path=f"/svc{i}/users") for i in range(n)],
        lambda i: Request("GET", f"/svc{i}/users"),
    ),
    "prefixes": (
        lambda n: [Route(i, prefix=f"/svc{i}") for i in range(n)],
        lambda i: Request("GET", f"/svc{i}/users"),
    ),
    "templates": (
        lambda n: [Route(i, path=f"/api/svc{i}/{{id}}/posts/{{rest...}}") for i in range(n)],
        lambda i: Request("GET", f"/api/svc{i}/7/posts/a/b"),
    ),
    "hosts": (
        lambda n: [Route(i, host=f"h{i}.example.com") for i in range(n)],
        lambda i: Request("GET", "/", f"h{i}.example.com"),
    ),
    "wildcards": (
        lambda n: [Route(i, host=f"*.h{i}.example.com", prefix="/a") for i in range(n)],
        lambda i: Request("GET", "/a", f"a.h{i}.example.com"),
    ),
    "headers": (
        lambda n: [Route(i, headers={"x-tenant": f"{i}"}, methods=["GET"]) for i in range(n)],
        lambda i: Request("GET", "/", "", [("X-Tenant", f"{i}")]),
    ),
    "methods": (
        lambda n: [Route(i, methods=[f"M{i}", f"N{i}"]) for i in range(n)],
        lambda i: Request(f"N{i}", "/"),
    ),
    "cookies and query": (
        lambda n: [Route(i, cookies={"a": f"{i}"}, query={"b": f"{i}"}) for i in range(n)],
        lambda i: Request("GET", f"/?b={i}", "", [("Cookie", f"a={i}")]),
    ),
    "names": (
        lambda n: [Route(i, headers={f"x-{i}": True}) for i in range(n)],
        lambda i: Request("GET", "/", "", [(f"X-{i}", "1"), ("accept", "*/*")]),
    ),
    "one name in common": (
        lambda n: [Route(i, headers={"a": "1", f"x-{i}": "1"}) for i in range(n)],
        lambda i: Request("GET", "/", "", [("a", "1"), (f"X-{i}", "1")]),
    ),
    "a mixture": (
        lambda n: [
            Route(
                i,
                host=[None, "a.example", "*.example"][i % 3],
                path=f"/{'{x}' if i % 2 else 'x'}/svc{i}/{{id}}",
                methods=["GET", "POST"] if i % 5 else (),
                headers={"v": "1"} if i % 7 == 0 else {},
            )
            for i in range(n)
        ],
        lambda i: Request("GET", f"/x/svc{i}/7", "a.example", [("v", "1")]),
    ),
}


@pytest.mark.parametrize(
    ("name", "hit"), [*product(TABLES, [True]), *product(sorted({*TABLES} - {"methods"}), [False])]
)
def test_a_match_among_many_runs_no_more_lines_than_among_few(name: str, hit: bool) -> None:
    """Except when only the method fails: that lists the allowed methods."""
    routes, request = TABLES[name]

    def lines(n: int) -> int:
        router = Router(routes(n))
        sent = [request(i + (0 if hit else MANY)) for i in range(n - 10, n)]
        found = [router.match(one) for one in sent]
        assert all((one.value == n - 10 + i) == hit for i, one in enumerate(found))
        return work_of(lambda: [router.match(one) for one in sent]).lines

    assert lines(MANY) <= lines(FEW) * 1.05


def test_a_wrong_method_is_found_without_trying_every_route() -> None:
    def lines(n: int) -> int:
        routes = [Route(i, methods=["POST"], headers={f"x-{i}": True}) for i in range(n)]
        router = Router(routes)
        missed = router.match(Request("GET", "/"))
        assert (missed.allowed, missed.why) == (("POST",), "method is not POST but GET")
        return work_of(partial(router.match, Request("GET", "/"))).lines

    assert lines(1000) <= lines(FEW) * 1.05


@pytest.mark.parametrize("name", ["a mixture", "names", "one name in common"])
def test_construction_is_at_most_linear(name: str) -> None:
    routes, _ = TABLES[name]
    lines = [work_of(partial(Router, routes(n))).lines / n for n in (100, 1000)]
    assert lines[1] <= 1.1 * lines[0]


LONG: dict[str, Callable[[int], Request]] = {
    "segments": lambda n: Request("GET", "/a" * n, "a.x"),
    "dots": lambda n: Request("GET", "/" + "a/../" * n, "a.x"),
    "query": lambda n: Request("GET", "/?" + "q=1&" * n, "a.x"),
    "empty pairs": lambda n: Request("GET", "/?" + "&" * n, "a.x"),
    "labels": lambda n: Request("GET", "/", "a." * n + "x"),
    "cookies": lambda n: Request("GET", "/", "a.x", [("Cookie", "c=1; " * n)]),
    "headers": lambda n: Request("GET", "/", "a.x", [("m", "1")] * n),
}


@pytest.mark.parametrize("what", LONG)
def test_the_cost_is_linear_in_the_length_of_the_request(what: str) -> None:
    long = LONG[what]
    router = Router(
        [
            Route(0, path="/{x}/{y}/{rest...}", query={"q": "2"}),
            Route(1, prefix="/a/a", headers={"m": "2"}),
            Route(2, host="*.x", cookies={"c": "2"}, query={"q": "2"}),
            Route(3, headers={"m": "2"}, cookies={"c": "2"}),
        ]
    )
    lines = [work_of(partial(router.match, long(n))).lines for n in (500, 1000, 2000)]
    assert all(after <= 2.2 * before + 50 for before, after in pairwise(lines))


def test_the_worst_case_is_bounded_by_the_number_of_segments() -> None:
    """A capture and a literal at each of d segments: 2 to the power of d leaves are visited."""
    depth = 6
    shapes = list(product(("a", "{}"), repeat=depth))

    def path(shape: tuple[str, ...]) -> str:
        return "/" + "/".join(part.replace("{}", f"{{p{i}}}") for i, part in enumerate(shape))

    def lines(more: int) -> int:
        arguments: list[dict[str, Any]] = [{"path": path(shape)} for shape in shapes]
        arguments += [
            {"path": f"/more{i}/{path(shape)[1:]}"} for i in range(more) for shape in shapes
        ]
        router = Router([Route(i, **one, methods=["PUT"]) for i, one in enumerate(arguments)])
        return work_of(lambda: router.match(Request("GET", "/a" * depth))).lines

    assert lines(20) <= lines(0) * 1.05
