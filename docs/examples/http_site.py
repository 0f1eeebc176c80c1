"""The site: which client sent a request, its route and pool, and the headers for the backend."""

import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11

from balancers.http import PathRules, Request, TrustedProxies, cookie, read_target, set_cookie
from balancers.routing import Match, Route, Router, Split

from http_side import Headers, Refused, end_to_end, hop_headers

# A backend may believe these headers more than the request itself, so they are not forwarded.  The
# proxy writes Host, X-Forwarded-For and X-Forwarded-Proto itself.
CLIENT_ADDRESSES = """
    true-client-ip x-real-ip x-client-ip client-ip x-cluster-client-ip x-originating-ip x-remote-ip
    x-remote-addr x-proxyuser-ip proxy-client-ip wl-proxy-client-ip cf-connecting-ip
    cf-connecting-ipv6 fastly-client-ip fly-client-ip x-azure-clientip x-azure-socketip
    x-appengine-user-ip x-envoy-external-address x-sourceip x-forward-for http-client-ip real-ip
    remote-addr
"""
TARGETS = """
    host x-host x-http-host-override x-rewrite-url x-override-url x-envoy-original-path
    x-http-method-override x-http-method x-method-override x-scheme x-url-scheme front-end-https
    proxy x-sendfile-type x-accel-mapping
"""  # other hosts, paths and methods than the route; settings of CGI programs and of Rack
REPLACED = frozenset((CLIENT_ADDRESSES + TARGETS).encode().split())
REPLACED_PREFIXES = (b"forwarded", b"x-forwarded", b"x-original")  # -Host, -Port, -URL and so on
# backends write other characters as "-", and so "X_Real_IP" as "X-Real-IP"; nginx drops them too
FORWARDED_NAME = re.compile(rb"[0-9A-Za-z-]+")
HOST = re.compile(r"(?:[0-9A-Za-z._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
MONTH = 30 * 24 * 3600  # seconds that a visitor cookie is valid

Value = str | Split[str]


@dataclass
class Routed:
    """A request, its pool, and what to forward."""

    request: Request
    head: h11.Request  # for the backend
    client: str  # address
    pool: str
    route: str
    cookies: list[str]  # Set-Cookie values for the client


class Site:
    """``host`` is used for requests without one; ``visitor`` is the cookie that splits use."""

    def __init__(
        self,
        host: str,
        secure: bool,
        pools: Mapping[str, Mapping[str, Any]],
        routes: list[dict[str, Any]],
        trusted: Collection[str] = (),
        visitor: str | None = None,
        paths: Mapping[str, Any] | None = None,
    ) -> None:
        self.host = host
        self.secure = secure
        self.rules = PathRules(**({} if paths is None else paths))
        if not isinstance(routes, list):
            raise TypeError(f"routes must be a list, not {routes!r}")
        table = [read_route(pools, **fields) for fields in routes]
        self.router = Router(table, path_rules=self.rules)
        self.proxies = TrustedProxies(trusted, header="X-Forwarded-For")
        if visitor is not None and visitor in {pool.get("cookie") for pool in pools.values()}:
            raise ValueError(f"visitor and the cookie of a pool must differ, not both {visitor!r}")
        self.visitor = visitor
        self.identify(Request())  # an invalid cookie name is an error at start

    def route(self, head: h11.Request, peer: str) -> Routed:
        """Return the client and the pool of a request.  Raises Refused if no route matches."""
        headers = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        target = read_target(head.target.decode(), self.rules)
        host = target.host or dict(headers).get("host", "")
        if not HOST.fullmatch(host):
            raise Refused(HTTPStatus.BAD_REQUEST, "invalid Host")
        if head.method == b"CONNECT":
            raise Refused(HTTPStatus.NOT_IMPLEMENTED, "no tunnels")
        request = Request(head.method.decode(), head.target.decode(), host, headers, peer)
        match = self.router.match(request)
        if match.value is None:
            raise no_route(match)
        forwarded = h11.Request(
            method=head.method,
            target=match.path
            + f"?{target.query}" * bool(target.query),  # the path that was matched
            headers=self.headers(head, request),
        )
        client, pool = str(self.proxies.client(request).address), match.value
        cookies: list[str] = []
        if isinstance(pool, Split):
            visitor, cookies = self.identify(request)
            pool = pool.pick(visitor or client)
        return Routed(request, forwarded, client, pool, match.why, cookies)

    def identify(self, request: Request) -> tuple[str, list[str]]:
        """Return the id of this visitor, and the cookie to set if the id is new."""
        if self.visitor is None:
            return "", []
        for header in request.header("cookie"):
            if visitor := cookie(header, self.visitor):
                return visitor, []
        visitor = secrets.token_urlsafe(16)
        return visitor, [set_cookie(self.visitor, visitor, max_age=MONTH, secure=self.secure)]

    def headers(self, head: h11.Request, request: Request) -> Headers:
        """Return the headers for the backend."""
        client = self.proxies.client(request)
        behind_proxy = client.reason or len(client.hops) > 1
        proto = request.header("x-forwarded-proto") if behind_proxy else ()
        others = [(name, value) for name, value in end_to_end(head) if passes(name)]
        return [
            (b"Host", (request.host or self.host).encode("latin-1")),
            *others,
            (b"X-Forwarded-For", self.proxies.forwarded(request).encode("latin-1")),
            (b"X-Forwarded-Proto", (proto or ("http",))[-1].encode("latin-1")),
            (b"Via", head.http_version + b" balancers"),
            *hop_headers(head),
        ]


def passes(name: bytes) -> bool:
    """Return whether a header of a client is forwarded."""
    name = name.lower()
    known = name in REPLACED or name.startswith(REPLACED_PREFIXES)
    return bool(FORWARDED_NAME.fullmatch(name)) and not known


def read_config(path: str) -> dict[str, Any]:
    """Read a file of JSON.  Raises ValueError if a name occurs twice in one object."""

    def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError(f"a name occurs twice: {', '.join(name for name, _ in pairs)}")
        return fields

    config: dict[str, Any] = json.loads(Path(path).read_text("utf-8"), object_pairs_hook=unrepeated)
    return config


def read_route(pools: Collection[str], to: str | dict[str, float], **fields: Any) -> Route[Value]:
    """Read a route of the configuration: to one pool, or a split over several by weight."""
    unknown = ({to} if isinstance(to, str) else to.keys()) - set(pools)
    if unknown:
        raise LookupError(f"a route leads to an unknown pool: {', '.join(sorted(unknown))}")
    return Route(to if isinstance(to, str) else Split(to), **fields)


def no_route(match: Match[Value]) -> Refused:
    """Return the error for a request without a route."""
    if match.allowed:
        allow = (b"Allow", ", ".join(match.allowed).encode())
        return Refused(HTTPStatus.METHOD_NOT_ALLOWED, match.reason, allow)
    absent = match.reason == "no route"
    return Refused(HTTPStatus.NOT_FOUND if absent else HTTPStatus.BAD_REQUEST, match.reason)
