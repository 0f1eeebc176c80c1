"""A program under test: what it must know, and how it is run."""

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
"""In the format of the recorded ones, without picks."""
Front = tuple[Case, Address]
"""A case, and where its requests go."""

_PATIENCE = 30.0
"""Seconds to start in."""
_POLL = 0.02


class Program(Protocol):
    """What a program's module knows."""

    name: str
    matched: str
    """The version that the presets match."""
    package: str
    """Who brings it."""

    def draw(self, rng: Random) -> Case:
        """Draw a policy, a configuration, and requests."""
        ...

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Give the addresses that listen, and those that refuse."""
        ...

    def sick(self, case: Case) -> list[str]:
        """Give the names of those that listen, and fail their health check."""
        ...

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a configuration for several cases, and give the arguments that run it."""
        ...

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """Say whether it knows by now all that it must, once it listens."""
        ...

    async def obey(self, place: int, told: str, folder: Path) -> None:
        """Change the configuration of a case while it runs."""
        ...

    def wire(self, case: Case, key: Any) -> Wire:
        """Put a key into a request."""
        ...

    def pick(self, case: Case, server: str | None) -> Any:
        """Write a pick as cases do; None is an error that the client got."""
        ...

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Give every server tried for a request, if the program tells."""
        ...


def executable(name: str) -> str | None:
    """Find a program beside this Python, on the path, or where Debian puts what is not on it."""
    here = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([here, os.environ.get("PATH", ""), "/usr/sbin"]))


def version(path: str) -> str:
    """Ask a program for its version."""
    for option in ("-v", "--version", "version"):
        told = subprocess.run([path, option], capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+\.\d+", told.stdout + told.stderr)
        if not told.returncode and found:
            return found[0]
    raise OSError(f"{path} does not say its version")


@asynccontextmanager
async def running(
    program: Program, fronts: Sequence[Front], folder: Path
) -> AsyncGenerator[None, None]:
    """Run a program from when it is ready to the end, whatever comes; it is gone then."""
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
            start_new_session=True,  # so that a wrapper's child ends too
        )
        started = asyncio.create_task(_ready(program, fronts, folder))
        try:
            ended = asyncio.create_task(process.wait())
            await asyncio.wait(
                [started, ended], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            if not started.done() and process.returncode is None:
                raise TimeoutError(f"{program.name} is not ready: {_end(log)}")
            if process.returncode is None:
                await started
                yield
            if process.returncode is not None:
                raise ChildProcessError(f"{program.name} ended by itself: {_end(log)}")
        finally:
            started.cancel()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _ready(program: Program, fronts: Sequence[Front], folder: Path) -> None:
    """Wait until it listens everywhere, and knows what it must."""
    for _, address in fronts:
        await _until(partial(_listens, address))
    await _until(partial(program.ready, fronts, folder))


async def _until(seen: Callable[[], Awaitable[bool]]) -> None:
    while not await seen():  # noqa: ASYNC110 - what another process does is no event here
        await asyncio.sleep(_POLL)


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


async def _listens(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True
