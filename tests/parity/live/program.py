"""A program under test: the interface of its module, and how it is run."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.parity.live.backends import Address
from tests.parity.live.client import Answer, Wire

__all__ = ["Case", "Front", "Program", "executable", "running", "version"]

Case = dict[str, Any]
"""A case in the format of the recorded ones, without picks."""
Front = tuple[Case, Address]
"""A case and the address to which its requests are sent."""

_START_TIMEOUT = 30.0
_POLL_INTERVAL = 0.02
"""Seconds, both."""


class Program(Protocol):
    """The interface of the module of a program."""

    name: str
    matched: str
    """The version that the presets match."""
    package: str
    """The package to install."""

    def generate(self, rng: Random) -> Case:
        """Return a random case: a policy, a configuration, and requests."""
        ...

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Return the addresses that listen, and those that refuse connections."""
        ...

    def unhealthy(self, case: Case) -> list[str]:
        """Return the names of the servers that listen but fail their health check."""
        ...

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a configuration for several cases, and return the command that runs it."""
        ...

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """Return whether the program, which listens already, is ready for requests."""
        ...

    async def change(self, place: int, command: str, folder: Path) -> None:
        """Change the configuration of a case at run time."""
        ...

    def wire(self, case: Case, key: Any) -> Wire:
        """Return the request of a key."""
        ...

    def pick(self, case: Case, server: str | None) -> Any:
        """Return a pick in the format of the cases; None as server is an error response."""
        ...

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Return every server that was tried for a request, None if it is not reported."""
        ...


def executable(name: str) -> str | None:
    """Find a program next to this Python, on the path, or in ``/usr/sbin``."""
    here = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([here, os.environ.get("PATH", ""), "/usr/sbin"]))


def version(path: str) -> str:
    """Return the version of a program."""
    for option in ("-v", "--version", "version"):
        run = subprocess.run([path, option], capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+\.\d+", run.stdout + run.stderr)
        if not run.returncode and found:
            return found[0]
    raise OSError(f"{path} does not print its version")


@asynccontextmanager
async def running(
    program: Program, fronts: Sequence[Front], folder: Path
) -> AsyncGenerator[None, None]:
    """Run a program; enter when it is ready, and always kill it at the end."""
    arguments = program.command(fronts, folder)
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,  # to kill the children of a wrapper too
        )
        started = asyncio.create_task(_ready(program, fronts, folder))
        try:
            ended = asyncio.create_task(process.wait())
            await asyncio.wait(
                [started, ended], timeout=_START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
            if not started.done() and process.returncode is None:
                raise TimeoutError(f"{program.name} is not ready: {_tail(log)}")
            if process.returncode is None:
                await started
                yield
            if process.returncode is not None:
                raise ChildProcessError(f"{program.name} ended by itself: {_tail(log)}")
        finally:
            started.cancel()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _ready(program: Program, fronts: Sequence[Front], folder: Path) -> None:
    """Wait until the program listens on every address and is ready."""
    for _, address in fronts:
        await _until(partial(_listens, address))
    await _until(partial(program.ready, fronts, folder))


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - another process sets no event here
        await asyncio.sleep(_POLL_INTERVAL)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


async def _listens(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True
