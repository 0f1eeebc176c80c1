"""What a site says of requests: whose they are, where they lead, and what a backend is told."""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11

from balancers.http import Request, TrustedProxies, cookie, read_target, set_cookie
from balancers.routing import Match, Route, Router, Split

from http_side import Headers, Refused, end_to_end, framing

OURS = frozenset((b"host", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"))
MONTH = 30 * 24 * 3600  # seconds a visitor is known

Value = str | Split[str]


@dataclass
class Asked:
    """A request, and where it leads."""

    facts: Request
    head: h11.Request  # for the backend
    client: str
    pool: str
    route: str
    cookies: list[str]  # for the client


class Site:
    """``host`` stands in for a client that names none; ``visitor`` is a cookie to split by."""

    def __init__(
        self,
        host: str,
        secure: bool,
        pools: Collection[str],
        routes: Collection[Mapping[str, Any]],
        trusted: Collection[str] = (),
        visitor: str | None = None,
    ) -> None:
        self.host = host
        self.secure = secure
        self.router = Router([route(pools, **told) for told in routes])
        self.proxies = TrustedProxies(trusted, header="X-Forwarded-For")
        self.visitor = visitor
        self.recognise(Request())  # a cookie that cannot be set is an error now

    def ask(self, head: h11.Request, peer: str) -> Asked:
        """Find out who asks and what for; Refused for what has no route."""
        headers = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        target = read_target(head.target.decode())
        host = target.host or dict(headers).get("host", "")
        facts = Request(head.method.decode(), head.target.decode(), host, headers, peer)
        match = self.router.match(facts)
        if match.value is None:
            raise missed(match)
        upward = h11.Request(
            method=head.method,
            target=match.path + f"?{target.query}" * bool(target.query),  # what was matched
            headers=self.headers(head, facts),
        )
        client, pool, said = str(self.proxies.client(facts).address), match.value, list[str]()
        if isinstance(pool, Split):
            visitor, said = self.recognise(facts)
            pool = pool.pick(visitor or client)
        return Asked(facts, upward, client, pool, match.why, said)

    def recognise(self, facts: Request) -> tuple[str, list[str]]:
        """Give what tells this visitor from others, and the cookie that will do so from now on."""
        if self.visitor is None:
            return "", []
        for header in facts.header("cookie"):
            if known := cookie(header, self.visitor):
                return known, []
        fresh = secrets.token_urlsafe(16)
        return fresh, [set_cookie(self.visitor, fresh, max_age=MONTH, secure=self.secure)]

    def headers(self, head: h11.Request, facts: Request) -> Headers:
        """Give the headers for the backend."""
        who = self.proxies.client(facts)
        proto = facts.header("x-forwarded-proto") if who.reason or len(who.hops) > 1 else ()
        kept = [
            (name, value)
            for name, value in end_to_end(head)
            if name.lower().replace(b"_", b"-") not in OURS  # some backends read one as the other
        ]
        return [
            (b"Host", (facts.host or self.host).encode("latin-1")),
            *kept,
            (b"X-Forwarded-For", self.proxies.forwarded(facts).encode("latin-1")),
            (b"X-Forwarded-Proto", (proto or ("http",))[-1].encode("latin-1")),
            (b"Via", head.http_version + b" balancers"),
            *framing(head),
        ]


def route(pools: Collection[str], to: str | dict[str, float], **told: Any) -> Route[Value]:
    """Read a route: to a pool, or split over several by weight."""
    unknown = ({to} if isinstance(to, str) else to.keys()) - set(pools)
    if unknown:
        raise LookupError(f"no pool for a route: {', '.join(sorted(unknown))}")
    return Route(to if isinstance(to, str) else Split(to), **told)


def missed(match: Match[Value]) -> Refused:
    """Say why there is no route."""
    if match.allowed:
        allow = (b"Allow", ", ".join(match.allowed).encode())
        return Refused(HTTPStatus.METHOD_NOT_ALLOWED, match.reason, allow)
    absent = match.reason == "no route"
    return Refused(HTTPStatus.NOT_FOUND if absent else HTTPStatus.BAD_REQUEST, match.reason)
