"""The head that the HTTP proxy sends on: one request, the path that matched, nothing smuggled.

The bytes are read by h11 and routed by the site of ``docs/examples/http_site.py``.  The new head is
written by h11 and read again by h11 and by the strict reader of ``tests.hostile.sockets``.
"""

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import h11

from balancers.http import Request, read_target
from balancers.http.hosts import read_host
from tests.hostile.sockets import requests

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"GET / HTTP/1.1\r\n", b"Host: shop.example\r\n", b"\r\n\r\n", b"Content-Length: 5\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: ", b"X-Forwarded-For: 1.1.1.1\r\n"),
    *(b"X_Forwarded_For: 1\r\n", b"Forwarded: for=1\r\n", b"Upgrade: websocket\r\n", b"POST "),
    *(b"http://other.example/", b"/admin", b"/%61dmin;x", b"X-Real-IP: 1\r\n", b"HTTP/1.0\r\n"),
    *(b"Expect: 100-continue\r\n", b"Cookie: visitor=1\r\n", b"X-Original-URL: /admin\r\n"),
    *(b"Keep-Alive: 1\r\n", b"TE: trailers\r\n", b"Trailer: Host\r\n", b"Host: a@b\r\n", b" \t"),
)

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.append(str(EXAMPLES))
EXAMPLE, SIDE = import_module("http_site"), import_module("http_side")
ROUTES: list[dict[str, object]] = [
    {"to": "any"},
    {"to": "admin", "prefix": "/admin"},
    {"to": {"any": 1, "admin": 1}, "path": "/split/{rest...}"},
    {"to": "admin", "host": "other.example", "methods": ["POST"]},
]
SITE: Any = EXAMPLE.Site(
    "127.0.0.1:1", False, {"any": {}, "admin": {}}, ROUTES, ["10.0.0.0/8"], "visitor"
)
PEERS = ("203.0.113.9", "10.0.0.1")

HOP_BY_HOP = {
    *(b"proxy-connection", b"keep-alive", b"te", b"trailer"),
}
PROXY_FIELDS = {b"x-real-ip", b"x-rewrite-url", b"proxy"}
PROXY_PREFIXES = (b"x-forwarded", b"forwarded", b"x-original")
"""Names, and how names begin, that only proxies write, besides the two that this proxy writes."""


def check(data: bytes) -> None:
    """The bytes arrive on a connection of the proxy."""
    for sent in (data, b"GET /" + data, b"POST / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"):
        head = read(sent)
        if head is not None:
            for peer in PEERS:
                check_head(head, peer)


def read(data: bytes) -> h11.Request | None:
    """Return the head of the first request, or None if h11 refuses it or needs more."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
    connection.receive_data(data)
    with suppress(h11.RemoteProtocolError):
        event = connection.next_event()
        return event if isinstance(event, h11.Request) else None
    return None


def check_head(head: h11.Request, peer: str) -> None:
    """Assert what the proxy promises about the head that it sends on."""
    try:
        routed = SITE.route(head, peer)
    except SIDE.Refused:
        return
    sender: Any = h11.Connection(h11.CLIENT)
    written: bytes = sender.send(routed.head) or b""
    again = read(written)
    framed = chunked(written)
    (message,) = requests(written + (b"0\r\n\r\n" if framed else b"\0" * length(written)))
    assert again is not None
    assert again.method == message.start[0] == head.method
    assert again.target == message.start[1]
    assert [*again.headers] == [*message.fields]
    check_target(head, message.start[1], routed.route)
    fields = dict(message.fields)
    names = [name for name, _ in message.fields]
    assert names.count(b"host") == 1
    assert names.count(b"x-forwarded-for") == names.count(b"x-forwarded-proto") == 1
    assert not HOP_BY_HOP.intersection(names)
    others = [name for name in names if name not in {b"x-forwarded-for", b"x-forwarded-proto"}]
    assert not PROXY_FIELDS.intersection(others)
    assert not [name for name in others if name.startswith(PROXY_PREFIXES) or b"_" in name]
    nominated = {
        token.strip().lower()
        for name, value in head.headers
        if name == b"connection"
        for token in value.split(b",")
    }
    own = {b"host", b"via", b"connection", b"upgrade", b"content-length", b"transfer-encoding"}
    assert not (nominated - own - {b"x-forwarded-for", b"x-forwarded-proto"}) & {*names}
    assert fields[b"connection"] in {b"close", b"Upgrade"}
    assert framed == any(name == b"transfer-encoding" for name, _ in head.headers)
    if peer == PEERS[0]:
        assert fields[b"x-forwarded-for"] == peer.encode()
        assert fields[b"x-forwarded-proto"] == b"http"
        assert routed.client == peer
    else:
        assert fields[b"x-forwarded-for"].split(b", ")[-1] == peer.encode()


def check_target(head: h11.Request, sent: bytes, route: str) -> None:
    """Assert that the target is the path that matched, and matches again."""
    given = read_target(head.target.decode())
    path, mark, query = sent.decode().partition("?")
    assert (path, query) == (given.path, given.query)
    assert bool(mark) == bool(query)
    host = given.host or dict(head.headers).get(b"host", b"").decode("latin-1")
    match = SITE.router.match(Request(head.method.decode(), path, host))
    assert match.path == path
    assert read_host(host) is not None
    if not head.target.startswith(b"http"):
        assert match.why == route


def chunked(head: bytes) -> bool:
    return b"\r\ntransfer-encoding: chunked\r\n" in head.lower()


def length(head: bytes) -> int:
    """Return the length of the body that the head announces, at most a million."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return min(int(value), 10**6)
    return 0
