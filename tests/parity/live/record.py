"""Send the requests of a case to a running program, and record its picks."""

import asyncio
from collections.abc import Hashable
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

from tests.parity.live.backends import Address, Backends
from tests.parity.live.client import Answer, Client, Wire
from tests.parity.live.program import Case, Program

__all__ = ["Recorder"]

_numbers = count()


class Recorder:
    """Sends the requests of one case in order; held requests stay in flight meanwhile."""

    def __init__(self, program: Program, backends: Backends, folder: Path) -> None:
        self._program, self._backends, self._folder = program, backends, folder

    async def record(self, case: Case, place: int, front: Address) -> None:
        """Send the requests and add the picks to the case."""
        picks: list[Any] = []
        tries: list[list[int] | None] = []
        holders: dict[Hashable, tuple[str, asyncio.Task[Answer]]] = {}
        opened = count()
        async with Client(front) as client:
            for what, *arguments in operations(case):
                match what:
                    case "cmd":
                        await self._program.change(place, arguments[0], self._folder)
                    case "close":
                        await self._end(holders.pop(arguments[0], None))
                    case "open":
                        number = arguments[0] if arguments else next(opened)
                        wire = self._program.wire(case, arguments[1] if arguments else None)
                        server, holders[number] = await self._begin(front, wire)
                        picks.append(self._program.pick(case, server))
                        tries.append(None)
                    case _:
                        key = arguments[0] if arguments else None
                        answer = await self._ask(client, case, key)
                        picks.append(self._program.pick(case, served(answer)))
                        tries.append(self._program.tried(case, answer))
            for holder in holders.values():
                await self._end(holder)
        case["picks"] = picks
        if any(tries):
            case["tries"] = tries

    async def _ask(self, client: Client, case: Case, key: Any) -> Answer:
        return await client.ask(self._program.wire(case, key), str(next(_numbers)))

    async def _begin(
        self, front: Address, wire: Wire
    ) -> tuple[str | None, tuple[str, asyncio.Task[Answer]]]:
        """Send a request that is held; return the server that has it, None for an error."""
        number = str(next(_numbers))
        arrival = self._backends.expect(number, held=True)
        answer = asyncio.create_task(_asked(front, wire, number))
        either: list[asyncio.Future[Any]] = [arrival, answer]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return (arrival.result() if arrival.done() else None), (number, answer)

    async def _end(self, holder: tuple[str, asyncio.Task[Answer]] | None) -> None:
        if holder is not None:
            number, answer = holder
            self._backends.release(number)
            await answer


async def _asked(front: Address, wire: Wire, number: str) -> Answer:
    async with Client(front) as client:
        return await client.ask(wire, number)


def served(answer: Answer) -> str | None:
    """Return the server that answered, None for a 5xx; raises ValueError for a 4xx."""
    if answer.status == HTTPStatus.OK:
        return answer.body
    if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ValueError(f"{answer.status}: {answer.body}")
    return None


def operations(case: Case) -> list[list[Any]]:
    """Return the requests of a case as operations."""
    if "ops" in case:
        return list(case["ops"])
    if "keys" in case:
        return [["req", key] for key in case["keys"]]
    return [["req"] for _ in range(case["n"])]
