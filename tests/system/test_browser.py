"""A real browser with the HTTP proxy: its session stays on a backend, and moves if that fails."""

import json
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

pytest.importorskip("h11")
pytest.importorskip("websockets")

from websockets.sync.server import ServerConnection, serve

from tests.system.browser import Browser, chromium
from tests.system.http_processes import Backend, Proxy, address_of

RELOADS = 5
CHAT = """new Promise((resolve, fail) => {
    const socket = new WebSocket(`ws://${location.host}/chat`);
    socket.onerror = () => fail("no WebSocket");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => { resolve(event.data); socket.close(); };
})"""


@pytest.fixture
def browser(tmp_path: Path) -> Generator[Browser]:
    with chromium(tmp_path) as browser:
        yield browser


@pytest.fixture
def shop() -> Generator[list[Backend]]:
    backends = [Backend(f"127.1.2.{number}") for number in (1, 2, 3)]
    try:
        for backend in backends:
            backend.run()
        yield backends
    finally:
        for backend in backends:
            backend.kill()


@pytest.fixture
def chat() -> Generator[str]:
    def answer(connection: ServerConnection) -> None:
        for message in connection:
            assert isinstance(message, str)
            assert connection.request
            connection.send(f"{message} from {connection.request.path}")

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield address_of(server.socket)
    thread.join()


@pytest.fixture
def proxy(shop: list[Backend], chat: str, tmp_path: Path) -> Generator[Proxy]:
    proxy = Proxy(
        tmp_path,
        pools={
            "shop": {"backends": [backend.name for backend in shop], "cookie": "home"},
            "chat": {"backends": [chat]},
        },
        routes=[  # /favicon.ico has no route, so it is not a visit
            {"path": "/", "to": "shop"},
            {"path": "/chat", "to": "chat"},
        ],
    )
    try:
        yield proxy.run()
    finally:
        proxy.kill()


def visits(page: str) -> tuple[str, int]:
    report = json.loads(page)
    return report["backend"], report["visits"]


def test_a_session_stays_on_its_backend_and_moves_when_that_is_killed(
    browser: Browser, shop: list[Backend], proxy: Proxy
) -> None:
    home, first = visits(browser.open(proxy.url))
    assert first == 1
    assert [visits(browser.reload()) for _ in range(RELOADS)] == later(home, RELOADS)
    cookie = browser.cookies()["home"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["session"]) == (True, "Lax", True)
    assert home not in cookie["value"]
    assert "home" not in browser.run("document.cookie")

    other, *_ = [backend for backend in shop if backend.name != home]
    other.kill()
    seen = [visits(browser.reload()) for _ in range(RELOADS)]
    assert seen == later(home, 2 * RELOADS)[RELOADS:]

    [own] = [backend for backend in shop if backend.name == home]
    own.kill()
    moved, again = visits(browser.reload())
    assert moved not in {home, other.name}
    assert again == 1
    assert [visits(browser.reload()) for _ in range(RELOADS)] == later(moved, RELOADS)
    assert browser.cookies()["home"]["value"] != cookie["value"]


def test_a_websocket_works(browser: Browser, proxy: Proxy) -> None:
    browser.open(proxy.url)
    assert browser.run(CHAT) == "hello from /chat"


def later(home: str, count: int) -> list[tuple[str, int]]:
    """Return the visits after the first one."""
    return [(home, 2 + turn) for turn in range(count)]
