"""Spellings of one path never reach two routes, and all servers read what the router accepts."""

import re
from random import Random

import pytest

from balancers.http import PathRules, Request, read_target
from balancers.routing import Route, Router
from tests.depth import runs
from tests.fuzz.targets.path import (
    PATHS,
    ROUTERS,
    RULES,
    check_one_route,
    check_readers,
    check_sent_on,
    plainly,
)
from tests.hostile.sockets import answers, requests
from tests.hostile.spellings import Choose, spelled, variants

DELIMITERS = "!$&'()*+,=:@"


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_no_two_spellings_of_a_path_reach_two_routes(rules: PathRules) -> None:
    rng = Random(str(rules))
    choices: list[Choose] = [plainly, *[rng.randrange] * runs(300)]
    for segments in PATHS:
        spellings = [
            spelled(
                segments,
                choose,
                slashes=rules.repeated_slashes != "keep",
                parameters=rules.parameters != "keep",
            )
            for choose in choices
        ]
        check_one_route(ROUTERS[rules], spellings)
        for target in spellings:
            check_sent_on(ROUTERS[rules], target)


def test_all_servers_read_what_is_accepted_by_default_as_the_router_does() -> None:
    rng = Random(1)
    alphabet = ["/", "/", ".", "..", ";", "%3b", "%2e", "%2f", "%5C", "\\", "a", "%61", "%25", "%"]
    alphabet += ["é", "%c3%a9", "%00", "?", "#", "@", "%40", "http://a", " ", "//", "/.", "x"]
    for _ in range(runs(100_000)):
        check_readers("/" + "".join(rng.choice(alphabet) for _ in range(rng.randrange(9))))
    for target in rng.sample([*variants("admin", "users")], runs(40_000)):
        check_readers(target)


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_an_encoded_delimiter_is_matched_like_the_delimiter_and_sent_on_as_it_came(
    delimiter: str,
) -> None:
    upper, lower = f"%{ord(delimiter):02X}", f"%{ord(delimiter):02x}"
    routes = [
        Route("any"),
        Route("path", path=f"/a{delimiter}/b"),
        Route("prefix", prefix=f"/{delimiter}c"),
        Route("pattern", path=re.compile(f"/x/{re.escape(delimiter)}[0-9]+")),
        Route("capture", path="/user/{name}"),
    ]
    router = Router(routes)
    for sent in (delimiter, upper, lower):
        for target, value in (
            (f"/a{sent}/b", "path"),
            (f"/{sent}c/d", "prefix"),
            (f"/x/{sent}7", "pattern"),
            (f"/user/{sent}", "capture"),
        ):
            match = router.match(Request(target=target))
            assert match.value == value
            assert match.path == target.replace(lower, upper)
        assert router.match(Request(target=f"/user/{sent}")).captures == {"name": delimiter}
    encoded = Route("encoded", prefix=f"/{lower}c")
    assert Router([encoded]).match(Request(target=f"/{delimiter}c")).value == "encoded"


def test_what_only_looks_like_a_delimiter_is_another_path() -> None:
    router = Router([Route("any"), Route("team", prefix="/@team")])
    for target in ("/%2540team", "/＠team", "/%EF%BC%A0team", "/@Team", "/@@team", "/%40%40team"):  # noqa: RUF001 - meant
        assert router.match(Request(target=target)).value in {"any", None}
    assert read_target("/%2540").path == "/%2540"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\nGET",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
        b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\na",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    ],
)
def test_the_reader_of_the_tests_is_strict(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a|ambiguous|the body|a chunk"):
        requests(data)


def test_the_reader_of_the_tests_separates_messages() -> None:
    data = b"POST /a HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET /b HTTP/1.0\r\nA:  b \r\n\r\n"
    first, second = requests(data)
    assert (first.start, first.body) == ((b"POST", b"/a"), b"x")
    assert (second.start, second.fields) == ((b"GET", b"/b"), ((b"a", b"b"),))
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert [message.status for message in answers(interim, "HEAD")] == [100, 200]
