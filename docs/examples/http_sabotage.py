"""The HTTP proxy with one broken part, to show that the drill detects it.

python http_sabotage.py NAME ARGUMENTS_OF_HTTP_PROXY…
"""

import asyncio
import sys
from collections.abc import Callable
from random import Random
from typing import Any
from unittest.mock import patch
from zlib import crc32

from balancers.http import Request, TrustedProxies
from balancers.routing import Match, Router, Split
from balancers.sessions import Binding, CookieSessions

resolve = CookieSessions[str].resolve


def forget(*_: object) -> Binding[str]:
    """Find no session."""
    return Binding(None, "absent")


def insist(sessions: CookieSessions[str], request: Request, now: float, wall: float) -> Any:
    """Never move a session to another backend."""
    return resolve(sessions, request, now, wall)._replace(strict=True)


def match_last(router: Router[Any], request: Request) -> Match[Any]:
    """Use the least specific route for every request."""
    [*_, last] = router
    return Match(last, last.value, {}, request.target, "", last.conditions)


def halve(_: Split[str], key: str) -> str:
    """Return the canary for half of the visitors, whatever its weight."""
    return "canary" if crc32(key.encode()) % 2 else "shop"


def draw_again(split: Split[str], _: str) -> str:
    """Choose a side at random for every visit."""
    return split.draw(Random())


def regroup(split: Split[str], key: str) -> str:
    """Keep the shares, but assign every visitor again when they change."""
    position = crc32(f"{key} {split.shares}".encode()) / 2**32
    return "canary" if position < split.shares["canary"] else "shop"


def trust_client(proxies: TrustedProxies, request: Request) -> str:
    """Forward whatever a client sends."""
    return ", ".join([*request.header(proxies.header), request.client])


async def cut_short(proxy: Any) -> None:
    """Exit without waiting for requests."""
    for task in (*proxy.connections.values(), *proxy.probing.values()):
        task.cancel()


SABOTAGE: dict[str, tuple[str, Callable[..., Any]]] = {
    "forget-sessions": ("http_upstream.CookieSessions.resolve", forget),
    "insist-on-sessions": ("http_upstream.CookieSessions.resolve", insist),
    "one-route": ("http_site.Router.match", match_last),
    "greedy-canary": ("http_site.Split.pick", halve),
    "restless-canary": ("http_site.Split.pick", draw_again),
    "regrouped-canary": ("http_site.Split.pick", regroup),
    "believe-everyone": ("http_site.TrustedProxies.forwarded", trust_client),
    "no-retries": ("http_attempts.RetryBudget.begin", lambda *_: False),
    "ignore-drain": ("http_upstream.balancers.Drain.begin", lambda *_: None),
    "cut-short": ("http_proxy.Proxy.finish", cut_short),
}

if __name__ == "__main__":
    target, broken = SABOTAGE[sys.argv.pop(1)]
    import http_proxy

    patch(target, broken).start()
    asyncio.run(http_proxy.main(http_proxy.options()))
