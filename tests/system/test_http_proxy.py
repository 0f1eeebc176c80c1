"""The HTTP proxy of the examples with real clients and backends, correct and faulty ones."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("httpx")
pytest.importorskip("websockets")

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from tests.system.http_processes import (
    EXAMPLES,
    LIMIT,
    Backend,
    Proxy,
    address_of,
    connect,
    listens,
    read_all,
    read_exactly,
    read_head,
    scripted,
    wait_until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[socket.socket, bytes], None]


@pytest.fixture(scope="module")
def backends() -> Generator[dict[str, list[Backend]]]:
    """Two backends of a shop, one canary and one API."""
    pools = {
        "shop": [Backend("127.1.1.1"), Backend("127.1.1.2")],
        "canary": [Backend("127.1.1.3")],
        "api": [Backend("127.1.1.4")],
    }
    every = [backend for pool in pools.values() for backend in pool]
    try:
        for backend in every:
            backend.run()
        yield pools
    finally:
        for backend in every:
            backend.kill()


@pytest.fixture(scope="module")
def site(
    backends: dict[str, list[Backend]], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Proxy]:
    """A proxy over these backends; no test changes its configuration."""
    pools: dict[str, Any] = {
        name: {"backends": {backend.name: 1 for backend in pool}, "cookie": "home"}
        for name, pool in backends.items()
    }
    del pools["api"]["cookie"]
    proxy = Proxy(
        tmp_path_factory.mktemp("site"),
        trusted=["127.9.0.0/16"],
        visitor="visitor",
        pools=pools,
        routes=[
            {"to": {"shop": 70, "canary": 30}},
            {"prefix": "/api", "to": "api"},
            {"path": "/only/shop", "to": "shop"},
            {"host": "api.example", "to": "api"},
        ],
    )
    with running(proxy):
        yield proxy


@contextlib.contextmanager
def running(proxy: Proxy, **settings: object) -> Generator[Proxy]:
    try:
        yield proxy.run(**settings)
    finally:
        proxy.kill()


@contextlib.contextmanager
def proxy_over(folder: Path, *handlers: Handler, **settings: object) -> Generator[Any]:
    """Run a round-robin proxy over scripted backends; yield the proxy and the backends."""
    with scripted(*handlers) as scripted_backends:
        pools = {"all": {"backends": {backend.name: 1 for backend in scripted_backends}}}
        proxy = Proxy(folder, pools=pools, routes=[{"to": "all"}])
        with running(proxy, algorithm="RoundRobin", **settings):
            yield proxy, *scripted_backends


def respond_with(data: bytes) -> Handler:
    """Return a handler that responds with ``data`` after it read the head."""

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(data)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)

    return handle


def close_at_once(*_: object) -> None:
    """Read the head and close the connection."""


def never_respond(connection: socket.socket, _: bytes) -> None:
    read_all(connection)


def echo_chunks(connection: socket.socket, _: bytes) -> None:
    """Respond to a chunked body with its chunks, as they arrive."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    stream = connection.makefile("rb")
    while size := int(stream.readline(), 16):
        data = stream.read(size + 2)
        connection.sendall(b"%x\r\n%s" % (size, data))
    connection.sendall(b"0\r\n\r\n")
    read_all(connection)


def respond_with_digest(connection: socket.socket, _: bytes) -> None:
    """Respond with the digest of a chunked body."""
    stream, digest = connection.makefile("rb"), sha256()
    while size := int(stream.readline(), 16):
        digest.update(stream.read(size))
        stream.readline()
    stream.readline()
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + digest.hexdigest().encode())


def respond_with_length(connection: socket.socket, head: bytes) -> None:
    """Respond with the length and the first bytes of a body of known length."""
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    if b"100-continue" in head:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = read_exactly(connection, length)
    text = b"%d %s" % (len(body), body[:5])
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    read_all(connection)


def send_raw(proxy: Proxy, data: bytes) -> bytes:
    """Send raw bytes; return everything until the proxy closes the connection."""
    with connect(proxy.name) as client:
        client.sendall(data)
        return read_all(client)


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return dict(answer.json()["headers"])


# Routes, canaries and sessions


def test_a_cookie_keeps_a_client_on_its_backend(site: Proxy) -> None:
    homes: set[str] = set()
    for _ in range(12):
        with httpx.Client(base_url=site.url) as client:
            reports = [client.get("/only/shop").json() for _ in range(6)]
        assert len({report["backend"] for report in reports}) == 1
        assert [report["visits"] for report in reports] == [1, 2, 3, 4, 5, 6]
        homes.add(reports[0]["backend"])
    assert len(homes) == 2


def test_without_cookies_there_is_no_session(site: Proxy) -> None:
    homes = {httpx.get(f"{site.url}/only/shop").json()["backend"] for _ in range(12)}
    assert len(homes) == 2


def test_the_cookie_is_set_once_and_the_response_is_private(site: Proxy) -> None:
    with httpx.Client(base_url=site.url) as client:
        first, second = client.get("/only/shop"), client.get("/only/shop")
    [cookie] = [x for x in first.headers.get_list("set-cookie") if x.startswith("home=")]
    assert "; Path=/; HttpOnly; SameSite=Lax" in cookie
    assert first.headers["cache-control"] == "private"
    assert "set-cookie" not in second.headers
    assert "cache-control" not in second.headers


def test_a_forged_cookie_is_replaced(site: Proxy) -> None:
    request = "/only/shop?forged"
    with httpx.Client(base_url=site.url, cookies={"home": "A" * 107}) as client:
        answer = client.get(request)
    assert any(x.startswith("home=") for x in answer.headers.get_list("set-cookie"))
    site.attempts(f"GET {request}", logged=1)  # it is logged after the response
    assert site.lines_with("session")[-1]["session"] == "forged"


def test_host_and_path_choose_the_pool(site: Proxy, backends: dict[str, list[Backend]]) -> None:
    [api] = backends["api"]
    assert httpx.get(f"{site.url}/api/items?x=1").json()["backend"] == api.name
    assert httpx.get(f"{site.url}/api/items?x=1").json()["target"] == "/api/items?x=1"
    assert httpx.get(site.url, headers={"Host": "api.example"}).json()["backend"] == api.name
    assert httpx.get(f"{site.url}/apiary").json()["backend"] != api.name


@pytest.mark.parametrize("target", ["/../secret", "/a%2fb", "/a%00b"])
def test_an_ambiguous_path_is_refused_with_its_reason(site: Proxy, target: str) -> None:
    response = send_raw(
        site, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert response.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert site.lines_with("refused")[-1]["refused"].encode() in response


def test_the_matched_path_is_the_forwarded_path(
    site: Proxy, backends: dict[str, list[Backend]]
) -> None:
    [api] = backends["api"]
    get = b"GET http://api.example/x/..//%%7Ejo?a=/../b HTTP/1.1\r\nHost: other\r\n%s\r\n"
    _, _, body = send_raw(site, get % b"Connection: close\r\n").partition(b"\r\n\r\n")
    report = json.loads(body)
    assert (report["backend"], report["target"]) == (api.name, "/~jo?a=/../b")
    assert ["host", "api.example"] in report["headers"]


def test_a_request_without_a_route_is_404_or_405_and_the_connection_stays_open(
    tmp_path: Path,
) -> None:
    routes = [{"path": "/here", "methods": ["GET", "HEAD"], "to": "all"}]
    proxy = Proxy(tmp_path, pools={"all": {"backends": []}}, routes=routes)
    with running(proxy), connect(proxy.name) as client:
        client.sendall(
            b"HEAD /there HTTP/1.1\r\nHost: x\r\n\r\n"
            b"DELETE /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        response = read_all(client)
    first, second = response.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"404 Not Found\r\n")
    assert first.endswith(b"\r\n\r\n")
    assert second.startswith(b"405 Method Not Allowed\r\n")
    assert b"Allow: GET, HEAD\r\n" in second


def test_a_response_before_the_body_closes_the_connection(tmp_path: Path) -> None:
    with running(Proxy(tmp_path, pools={}, routes=[])) as proxy:
        response = send_raw(proxy, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert response.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Connection: close\r\n" in response


def test_a_visitor_stays_on_its_side_of_a_split(
    site: Proxy, backends: dict[str, list[Backend]]
) -> None:
    [canary] = backends["canary"]
    sides: list[bool] = []
    for _ in range(40):
        with httpx.Client(base_url=site.url) as client:
            [side] = {client.get("/").json()["backend"] == canary.name for _ in range(3)}
        sides.append(side)
    assert 1 <= sum(sides) <= 27  # of 40 at 30 %: each bound is exceeded once in 10^5 runs


def test_a_greater_share_only_adds_visitors_to_the_canary(
    backends: dict[str, list[Backend]], tmp_path: Path
) -> None:
    pools = {name: {"backends": [x.name for x in backends[name]]} for name in ("shop", "canary")}
    proxy = Proxy(tmp_path, visitor="v", pools=pools, routes=[])
    [canary] = backends["canary"]

    def visitors(percent: int) -> set[int]:
        split = {"shop": 100 - percent, "canary": percent}
        assert proxy.configure(routes=[{"to": split}]) == "read"
        with httpx.Client(base_url=proxy.url) as client:
            reports = [client.get("/", headers={"Cookie": f"v={x}"}).json() for x in range(100)]
        return {x for x in range(100) if reports[x]["backend"] == canary.name}

    with running(proxy):
        few, more, most = visitors(10), visitors(25), visitors(60)
    assert few < more < most


# Forwarding


def test_keep_alive_and_pipelining_work(site: Proxy) -> None:
    two = b"GET /api/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    two += b"GET /api/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    response = send_raw(site, two)
    assert response.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert response.index(b"/api/1") < response.index(b"/api/2")


def test_bodies_stream_in_both_directions_at_the_same_time(tmp_path: Path) -> None:
    with proxy_over(tmp_path, echo_chunks) as (proxy, _), connect(proxy.name) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 200")
        for word in (b"one", b"three", b"fifteen characters"):
            chunk = b"%x\r\n%s\r\n" % (len(word), word)
            client.sendall(chunk)
            assert read_exactly(client, len(chunk)) == chunk
        client.sendall(b"0\r\n\r\n")
        assert read_exactly(client, 5) == b"0\r\n\r\n"


def test_a_body_of_many_megabytes_arrives_completely(tmp_path: Path) -> None:
    pieces = [bytes([number]) * 1_000_000 for number in range(30)]
    with proxy_over(tmp_path, respond_with_digest) as (proxy, _):
        answer = httpx.post(proxy.url, content=iter(pieces), timeout=LIMIT)
    assert answer.text == sha256(b"".join(pieces)).hexdigest()


def test_a_head_request_gets_no_body(site: Proxy) -> None:
    with httpx.Client(base_url=site.url) as client:
        head, get = client.head("/api/"), client.get("/api/")
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) > 100
    assert get.json()["method"] == "GET"


def test_a_client_of_http_1_0_gets_no_chunks(tmp_path: Path) -> None:
    with proxy_over(
        tmp_path,
        respond_with(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\nTrailer: x\r\n\r\n"
        ),
    ) as (proxy, _):
        response = send_raw(proxy, b"GET / HTTP/1.0\r\n\r\n")
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"ok"


def test_100_continue_comes_from_the_backend(tmp_path: Path) -> None:
    with proxy_over(tmp_path, respond_with_length) as (proxy, _), connect(proxy.name) as client:
        client.sendall(
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert read_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert read_head(client).startswith(b"HTTP/1.1 200 OK\r\n")
        assert read_exactly(client, 7) == b"5 hello"


def test_a_final_status_may_replace_100_continue(tmp_path: Path) -> None:
    no = respond_with(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    with proxy_over(tmp_path, no) as (proxy, _), connect(proxy.name) as client:
        client.sendall(
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert read_head(client).startswith(b"HTTP/1.1 413 Too Large\r\n")
        assert read_all(client) == b""


def test_a_missing_100_continue_is_504(tmp_path: Path) -> None:
    with proxy_over(tmp_path, never_respond, silence=0.5) as (proxy, backend):
        response = send_raw(
            proxy,
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        )
        assert response.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert proxy.attempts("PUT /", 1) == [(backend.name, False)]


def test_an_early_response_reaches_a_client_that_is_still_sending(tmp_path: Path) -> None:
    no = respond_with(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    with proxy_over(tmp_path, no) as (proxy, _), connect(proxy.name) as client:
        client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nabc")
        wait_until(lambda: proxy.attempts("PUT /"), "the attempt ends")
        for _ in range(8):
            client.sendall(b"x" * 1_000_000)
        assert read_head(client).startswith(b"HTTP/1.1 413 Too Large\r\n")


def test_hop_by_hop_headers_are_not_forwarded(tmp_path: Path) -> None:
    sent = b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\n"
    sent += b"X-Hop: 1\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok"
    with proxy_over(tmp_path, respond_with(sent)) as (proxy, backend):
        response = send_raw(
            proxy,
            b"GET / HTTP/1.1\r\nHost: shop.example:81\r\nConnection: close, x-secret, Host\r\n"
            b"X-Secret: 1\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\nX-Kept: 3\r\n\r\n",
        )
        [head] = backend.heads
    lines = head.split(b"\r\n")
    assert b"Host: shop.example:81" in lines
    assert b"X-Kept: 3" in lines
    assert b"Connection: close" in lines
    for gone in (b"X-Secret", b"TE:", b"Proxy-Connection", b"Upgrade"):
        assert gone not in head
    assert b"X-End: 2" in response
    assert b"X-Hop" not in response.partition(b"\r\n\r\n")[0]
    assert b"Keep-Alive" not in response


def test_content_length_is_no_hop_by_hop_header(tmp_path: Path) -> None:
    with proxy_over(tmp_path, respond_with_length) as (proxy, _):
        answer = httpx.put(proxy.url, content=b"hello", headers={"Connection": "Content-Length"})
    assert answer.text == "5 hello"


def test_forwarded_addresses_are_accepted_only_from_trusted_proxies(site: Proxy) -> None:
    spoof = {"X-Forwarded-For": "6.6.6.6, 198.51.100.7", "X-Forwarded-Proto": "https"}
    spoof |= {"X_Forwarded_For": "6.6.6.6", "Forwarded": "for=6.6.6.6;proto=https"}
    direct = headers_of(httpx.get(f"{site.url}/api/", headers=spoof))
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.9.0.1")) as trusted:
        behind = headers_of(trusted.get(f"{site.url}/api/", headers=spoof))
    assert (direct["x-forwarded-for"], direct["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert behind["x-forwarded-for"] == "198.51.100.7, 127.9.0.1"
    assert not {"forwarded", "x_forwarded_for"} & (direct.keys() | behind.keys())
    assert behind["x-forwarded-proto"] == "https"


def test_a_request_with_two_framings_is_forwarded_with_one(tmp_path: Path) -> None:
    with proxy_over(tmp_path, echo_chunks) as (proxy, backend):
        send_raw(
            proxy,
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
        [head] = backend.heads
    assert b"content-length" not in head.lower()
    assert b"Transfer-Encoding: chunked" in head


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /%s HTTP/1.1\r\n" % (b"a" * 200_000), 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_invalid_http_is_refused(tmp_path: Path, sent: bytes, status: int) -> None:
    with proxy_over(tmp_path, never_respond) as (proxy, _):
        assert send_raw(proxy, sent).startswith(b"HTTP/1.1 %d " % status)
        assert all(ok is None for _, ok in proxy.attempts("POST /"))


# Failures


def test_an_idempotent_request_is_retried_on_another_backend(tmp_path: Path) -> None:
    with proxy_over(tmp_path, close_at_once, respond_with(OK)) as (proxy, bad, good):
        assert httpx.get(proxy.url).text == "ok"
        assert proxy.attempts("GET /", 2) == [(bad.name, False), (good.name, True)]
        assert bad.requests() == good.requests() == [b"GET / HTTP/1.1"]


def test_a_short_body_is_sent_again(tmp_path: Path) -> None:
    def read_a_part(connection: socket.socket, _: bytes) -> None:
        read_exactly(connection, 5000)

    with proxy_over(tmp_path, read_a_part, respond_with_length) as (proxy, bad, _):
        assert httpx.put(proxy.url, content=b"hello" * 1000).text == "5000 hello"
        assert bad.requests() == [b"PUT / HTTP/1.1"]


def test_a_long_body_is_not_sent_again(tmp_path: Path) -> None:
    def read_a_part(connection: socket.socket, _: bytes) -> None:
        read_exactly(connection, 200_000)

    with proxy_over(tmp_path, read_a_part, respond_with_length) as (proxy, _, good):
        assert httpx.put(proxy.url, content=b"hello" * 40_000).status_code == 502
        assert good.requests() == []


def test_a_request_that_is_not_idempotent_is_not_retried(tmp_path: Path) -> None:
    with proxy_over(tmp_path, close_at_once, respond_with(OK)) as (proxy, bad, good):
        answer = httpx.post(proxy.url)
        assert (answer.status_code, answer.text) == (502, "502 Bad Gateway: incomplete response\n")
        assert (bad.requests(), good.requests()) == ([b"POST / HTTP/1.1"], [])


def test_a_request_that_no_backend_received_is_retried(tmp_path: Path) -> None:
    both = respond_with(OK), respond_with(OK)
    with proxy_over(tmp_path, *both, interval=60.0) as (proxy, gone, _):  # no probe notices it
        gone.close()
        assert not listens(gone.name)
        assert httpx.post(proxy.url).text == "ok"
        assert httpx.post(proxy.url).text == "ok"
        assert proxy.attempts("POST /", 1)[0] == (gone.name, False)
        assert gone.requests() == []


def test_an_incomplete_response_is_not_retried(tmp_path: Path) -> None:
    half = respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    with proxy_over(tmp_path, half, respond_with(OK)) as (proxy, bad, good):
        with pytest.raises(httpx.TransportError):
            httpx.get(proxy.url)
        wait_until(lambda: proxy.attempts("GET /"), "the attempt is logged")
        assert proxy.attempts("GET /", 1) == [(bad.name, False)]
        assert good.requests() == []


def test_an_incomplete_response_without_a_length_resets_the_connection(tmp_path: Path) -> None:
    half = respond_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    with proxy_over(tmp_path, half) as (proxy, _), pytest.raises(ConnectionResetError):
        send_raw(proxy, b"GET / HTTP/1.0\r\n\r\n")


def test_a_timeout_of_the_only_backend_is_504(tmp_path: Path) -> None:
    with proxy_over(tmp_path, never_respond, silence=0.5) as (proxy, bad):
        answer = httpx.get(proxy.url)
        assert (answer.status_code, answer.text) == (504, "504 Gateway Timeout: no response\n")
        assert proxy.attempts("GET /", 1) == [(bad.name, False)]


def test_an_empty_pool_is_503_with_the_reason_of_the_refusal(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, pools={"all": {"backends": {}}}, routes=[{"to": "all"}])
    with running(proxy):
        answer = httpx.get(proxy.url)
    expected = "503 Service Unavailable: no backend available: empty\n"
    assert (answer.status_code, answer.text) == (503, expected)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_errors_close_a_backend(tmp_path: Path, status: int) -> None:
    assert failures_of(tmp_path, status) == 3


@pytest.mark.parametrize("status", [500, 501, 505, 599])
def test_by_default_no_other_errors_close_a_backend(tmp_path: Path, status: int) -> None:
    assert failures_of(tmp_path, status) == 15


@pytest.mark.parametrize("status", [500, 501, 502, 599])
def test_with_count_5xx_all_of_them_close_a_backend(tmp_path: Path, status: int) -> None:
    assert failures_of(tmp_path, status, count_5xx=True) == 3


def failures_of(folder: Path, status: int, **settings: bool) -> int:
    """Return how many of 30 requests a backend of two received that answers them with a status."""
    failing = respond_with(b"HTTP/1.1 %d Oops\r\nContent-Length: 0\r\n\r\n" % status)
    limits: dict[str, Any] = {"fall": 3, "fail_timeout": 60, **settings}
    with proxy_over(folder, failing, respond_with(OK), **limits) as (proxy, bad, good):
        statuses = [httpx.post(proxy.url).status_code for _ in range(30)]
        assert statuses.count(status) == len(bad.heads) == 30 - len(good.heads)
        return len(bad.heads)


def test_a_client_that_disconnects_is_not_a_failure_of_the_backend(tmp_path: Path) -> None:
    with proxy_over(tmp_path, never_respond) as (proxy, backend):
        with connect(proxy.name) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: backend.heads, "the request arrives")
        wait_until(lambda: proxy.attempts("GET /slow"), "its end is logged")
        assert proxy.attempts("GET /slow") == [(backend.name, None)]


def test_a_client_that_stalls_is_not_a_failure_of_the_backend(tmp_path: Path) -> None:
    with proxy_over(tmp_path, respond_with_length, silence=0.5) as (proxy, backend):
        with connect(proxy.name) as client:
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
            assert read_all(client) == b""
        assert proxy.attempts("PUT /", 1) == [(backend.name, None)]


# WebSockets


def echo_messages(connection: ServerConnection) -> None:
    for message in connection:
        if message == "leave":
            connection.close(4321, "as you wish")
        connection.send(message)


@contextlib.contextmanager
def websockets_behind(folder: Path) -> Generator[tuple[Proxy, str]]:
    with serve_websockets(echo_messages, "127.0.0.1", 0, process_request=healthy) as server:
        threading.Thread(target=server.serve_forever).start()
        name = address_of(server.socket)
        pools = {"all": {"backends": [name], "cookie": "home"}}
        with running(Proxy(folder, pools=pools, routes=[{"to": "all"}])) as proxy:
            yield proxy, name


def healthy(connection: ServerConnection, request: Any) -> Any:
    return connection.respond(200, "") if request.path == "/health" else None


def test_a_websocket_is_forwarded_and_keeps_its_lease(tmp_path: Path) -> None:
    with websockets_behind(tmp_path) as (proxy, backend):
        with websocket(f"ws://{proxy.name}/chat", proxy=None) as socket_:
            assert socket_.response
            assert socket_.response.headers["Set-Cookie"].startswith("home=")
            for message in ("hello", b"\0\xff" * 10, "x" * 900_000):
                socket_.send(message)
                assert socket_.recv(LIMIT) == message
            assert proxy.attempts("GET /chat") == []
            socket_.send("leave")
            with pytest.raises(ConnectionClosed) as closed:
                socket_.recv(LIMIT)
        assert closed.value.rcvd
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as you wish")
        wait_until(lambda: proxy.attempts("GET /chat"), "its end is logged")
        assert proxy.attempts("GET /chat") == [(backend, True)]


def test_data_right_after_a_handshake_is_not_lost(tmp_path: Path) -> None:
    upgraded = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def eager(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 101 Switching\r\n%sfirst " % upgraded)
        connection.sendall(read_exactly(connection, 5))

    with proxy_over(tmp_path, eager) as (proxy, _):
        response = send_raw(proxy, b"GET / HTTP/1.1\r\nHost: x\r\n%searly" % upgraded)
    assert response.startswith(b"HTTP/1.1 101 ")
    assert response.endswith(b"\r\n\r\nfirst early")


def test_a_refused_websocket_is_an_ordinary_response(site: Proxy) -> None:
    with pytest.raises(Exception, match="200"), websocket(f"ws://{site.name}/api/", proxy=None):
        pass


def test_no_other_protocol_is_forwarded(tmp_path: Path) -> None:
    with proxy_over(tmp_path, respond_with(OK)) as (proxy, backend):
        response = send_raw(
            proxy,
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        )
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"upgrade" not in backend.heads[0].lower()


# Operation


def test_a_proxy_finishes_open_requests_on_sigterm(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(connection: socket.socket, _: bytes) -> None:
        go.wait(LIMIT)
        connection.sendall(OK)
        read_all(connection)

    with proxy_over(tmp_path, slow) as (proxy, backend):
        with connect(proxy.name) as idle, connect(proxy.name) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: backend.heads, "the request arrives")
            proxy.signal(signal.SIGTERM)
            assert read_all(idle) == b""
            wait_until(lambda: not listens(proxy.name), "it accepts no connections")
            go.set()
            response = read_all(client)
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in response.lower()
        assert proxy.process.wait(LIMIT) == 0


def test_a_proxy_waits_at_most_the_drain_timeout_on_sigterm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        proxy_over(tmp_path, never_respond, drain_timeout=0.5) as (proxy, backend),
        connect(proxy.name) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: backend.heads, "the request arrives")
        proxy.signal(signal.SIGTERM)
        assert proxy.process.wait(LIMIT) == 0
        assert read_all(client) == b""
        assert proxy.attempts("GET /", 1) == [(backend.name, None)]
    assert capfd.readouterr().err == ""


def test_a_draining_backend_serves_only_its_sessions(
    backends: dict[str, list[Backend]], tmp_path: Path
) -> None:
    shop = {"backends": [backend.name for backend in backends["shop"]], "cookie": "home"}
    proxy = Proxy(tmp_path, pools={"shop": shop}, routes=[{"to": "shop"}])
    with running(proxy), httpx.Client(base_url=proxy.url) as client:
        home = client.get("/").json()["backend"]
        assert proxy.configure(pools={"shop": {**shop, "drain": [home]}}) == "read"
        assert {client.get("/").json()["backend"] for _ in range(6)} == {home}
        assert home not in {httpx.get(proxy.url).json()["backend"] for _ in range(12)}
        assert [x["backend"] for x in proxy.lines_with("reason") if x["reason"] == "drained"] == [
            home
        ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"routes": [{"to": "missing"}]},
        {"routes": [{"to": "shop"}, {"to": "shop"}]},
        {"routes": [{"to": {"shop": 0}}]},
        {"pools": {"shop": {"backends": {"127.0.0.1:1": -1}}}},
        {"pools": {"shop": {"backends": {}, "cooky": "x"}}},
        {"trusted": ["10.0.0.0/40"]},
        {"pools": {"shop": {"backends": {"127.0.0.1:1": 1}, "drain": ["typo:1"]}}},
        {"pools": None},
    ],
)
def test_an_invalid_configuration_changes_nothing(
    backends: dict[str, list[Backend]], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    pools = {"shop": {"backends": [backends["shop"][0].name]}}
    proxy = Proxy(tmp_path, pools=pools, routes=[{"to": "shop"}])
    with running(proxy):
        assert proxy.configure(**wrong).startswith("not read: ")
        assert httpx.get(proxy.url).json()["backend"] == backends["shop"][0].name


def test_sessions_survive_a_restart_and_a_change_of_keys(
    backends: dict[str, list[Backend]], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("the-first-secret-of-the-shop\n")
    shop = {"backends": [backend.name for backend in backends["shop"]], "cookie": "home"}
    proxy = Proxy(tmp_path, pools={"shop": shop}, routes=[{"to": "shop"}])
    with httpx.Client() as client:
        with running(proxy, keys=keys):
            home = client.get(proxy.url).json()["backend"]
        with running(proxy, keys=keys):
            assert {client.get(proxy.url).json()["backend"] for _ in range(6)} == {home}
            keys.write_text("another-secret-of-the-shop\nthe-first-secret-of-the-shop\n")
            assert proxy.configure() == "read"
            again = client.get(proxy.url)
            assert again.json()["backend"] == home
            assert any(x.startswith("home=") for x in again.headers.get_list("set-cookie"))
            keys.write_text("another-secret-of-the-shop\n")
            assert proxy.configure() == "read"
            assert {client.get(proxy.url).json()["backend"] for _ in range(6)} == {home}


# The drill


def drill(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "http_drill.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_drill_passes() -> None:
    run = drill()
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("all guarantees held\n")
    assert run.stderr == ""


SABOTAGES = {
    "forget-sessions": "sessions stayed when another backend was killed",
    "insist-on-sessions": "moved when their own backend was killed",
    "one-route": "went to the backend of their host and path",
    "greedy-canary": "the canary of 10 %",
    "restless-canary": "stayed on its side",
    "regrouped-canary": "no visitor left the canary",
    "believe-everyone": "accepted only from a trusted proxy",
    "no-retries": "requests were answered while backends were killed",
    "ignore-drain": "got no new ones",
    "cut-short": "finished before the proxy exited",
}
QUICK = {"ignore-drain"}
"""The others run only in the deep profile."""


@pytest.mark.parametrize(
    "sabotage", [pytest.param(s, marks=[] if s in QUICK else pytest.mark.deep) for s in SABOTAGES]
)
def test_sabotage_is_detected(sabotage: str) -> None:
    run = drill("--quiet", "--sabotage", sabotage)
    assert run.returncode == 1, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert any("FAILED" in line and SABOTAGES[sabotage] in line for line in lines), (
        run.stdout + run.stderr
    )
