"""The recipes of the documentation as modules, and what holds after each test of a client."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from balancers import Pool

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
LIMIT = 30.0  # seconds for what takes less than one on an idle machine


def recipe(name: str) -> Any:
    """Import a recipe.  The recipes import each other by name, as they do when they run."""
    if str(RECIPES) not in sys.path:
        sys.path.append(str(RECIPES))
    return import_module(name)


def backends(count: int) -> Any:
    """Return a context with HTTP servers on loopback."""
    return recipe("loopback").backends(count)


def assert_idle(pool: Pool[Any]) -> None:
    """No lease is left, on any backend."""
    snapshot = pool.snapshot()
    assert snapshot.in_flight == 0
    assert {member.in_flight for member in snapshot.members} <= {0}


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until a condition holds; AssertionError after the limit."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def all_in_flight(pool: Pool[Any], count: int) -> None:
    """Wait until this number of requests is in flight."""
    await until(lambda: pool.snapshot().in_flight >= count)


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait for them."""
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; AssertionError after the limit."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@asynccontextmanager
async def slow_headers() -> AsyncGenerator[str]:
    """Run a server whose headers never end: it sends one byte each 10 ms.  Return its address."""

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            pass  # the client is gone
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(respond, "127.0.0.1")
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
