"""The HTTP proxy with something broken, to show that the drill notices.

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
    """Find nobody's session."""
    return Binding(None, "absent")


def insist(sessions: CookieSessions[str], request: Request, now: float, wall: float) -> Any:
    """Never let a session move."""
    return resolve(sessions, request, now, wall)._replace(strict=True)


def match_last(router: Router[Any], request: Request) -> Match[Any]:
    """Send everything where the least specific route leads."""
    [*_, last] = router
    return Match(last, last.value, {}, request.target, "", last.conditions)


def halve(_: Split[str], key: str) -> str:
    """Give the canary half of the visitors, whatever its weight."""
    return "canary" if crc32(key.encode()) % 2 else "shop"


def gamble(split: Split[str], _: str) -> str:
    """Deal anew at every visit."""
    return split.draw(Random())


def regroup(split: Split[str], key: str) -> str:
    """Keep the shares, and deal anew whenever they change."""
    dealt = crc32(f"{key} {split.shares}".encode()) / 2**32
    return "canary" if dealt < split.shares["canary"] else "shop"


def believe(proxies: TrustedProxies, request: Request) -> str:
    """Pass on whatever a client writes."""
    return ", ".join([*request.header(proxies.header), request.client])


async def cut_short(proxy: Any) -> None:
    """End without waiting."""
    for task in (*proxy.connections.values(), *proxy.probing.values()):
        task.cancel()


SABOTAGE: dict[str, tuple[str, Callable[..., Any]]] = {
    "forget-sessions": ("http_upstream.CookieSessions.resolve", forget),
    "insist-on-sessions": ("http_upstream.CookieSessions.resolve", insist),
    "one-route": ("http_site.Router.match", match_last),
    "greedy-canary": ("http_site.Split.pick", halve),
    "restless-canary": ("http_site.Split.pick", gamble),
    "regrouped-canary": ("http_site.Split.pick", regroup),
    "believe-everyone": ("http_site.TrustedProxies.forwarded", believe),
    "no-retries": ("http_proxy.RetryBudget.begin", lambda *_: False),
    "ignore-drain": ("http_upstream.balancers.Drain.begin", lambda *_: None),
    "cut-short": ("http_proxy.Proxy.finish", cut_short),
}

if __name__ == "__main__":
    target, broken = SABOTAGE[sys.argv.pop(1)]
    import http_proxy

    patch(target, broken).start()
    asyncio.run(http_proxy.main(http_proxy.options()))
