"""``python -m tests.parity.live``: draw cases, have the real programs pick, and replay them."""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

from tests.parity.live import draws
from tests.parity.live.backends import Backends
from tests.parity.live.caddy import Caddy
from tests.parity.live.envoy import Envoy
from tests.parity.live.haproxy import HAProxy
from tests.parity.live.nginx import Nginx
from tests.parity.live.program import Front, Program, executable, running, version
from tests.parity.live.record import Recorder
from tests.parity.replay import Verdict, report, verdicts

PROGRAMS: tuple[Program, ...] = (Nginx(), HAProxy(), Envoy(), Caddy())
CASES = 8
"""Cases that a program serves at once."""


def randomness(program: Program, seed: int, turn: int) -> Random:
    """Give what the cases of one run of a program are drawn with."""
    return Random(f"{seed}/{program.name}/{turn}")


async def batch(program: Program, oracle: str, seed: int, turn: int, kept: Path) -> None:
    """Draw some cases, run the program, and keep what it picked; the same for the same numbers."""
    rng = randomness(program, seed, turn)
    backends = Backends()
    try:
        fronts: list[Front] = []
        while len(fronts) < CASES:
            case = program.draw(rng)
            front = (f"127.250.{rng.randrange(256)}.{rng.randrange(1, 255)}", draws.port(rng))
            listening, refusing = program.servers(case)
            try:
                for address in listening:
                    await backends.listen(address)
                for address in refusing:
                    backends.refuse(address)
            except OSError as error:
                say(f"{program.name}, turn {turn}: a case is drawn anew, {error}")
                continue
            backends.sick.update(program.sick(case))
            drawn = f"seed {seed}, {program.name} {turn}.{len(fronts)}"
            fronts.append(({"oracle": oracle, "drawn": drawn, **case}, front))
        with TemporaryDirectory(prefix=f"parity-{program.name}-") as folder:
            recorder = Recorder(program, backends, Path(folder))
            async with running(program, fronts, Path(folder)), asyncio.TaskGroup() as together:
                for place, (case, front) in enumerate(fronts):
                    together.create_task(recorder.record(case, place, front))
    finally:
        await backends.close()
    for place, (case, _) in enumerate(fronts):
        path = kept / f"{program.name}_{turn:04}_{place}.json"
        path.write_text(json.dumps(case, ensure_ascii=False), encoding="utf-8")


async def record(programs: dict[Program, str], seed: int, seconds: float, kept: Path) -> None:
    """Give every program its turn, again and again until the time is over, each at least once."""
    over = time.monotonic() + seconds
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    turn = 0
    while not turn or time.monotonic() < over:
        for program, oracle in programs.items():
            await batch(program, oracle, seed, turn, kept)
            if turn and time.monotonic() > over:
                break
        turn += 1


def say(line: str) -> None:
    """Tell whoever runs this."""
    print(line, flush=True)  # noqa: T201 - the report


def missing(programs: Sequence[Program]) -> list[str]:
    """Say which programs cannot take part."""
    return [
        f"{program.name} is not installed: {program.package}"
        for program in programs
        if executable(program.name) is None
    ]


def oracle_of(program: Program) -> str:
    """Name a program and its version."""
    return f"{program.name} {version(executable(program.name) or program.name)}"


def agreed(known: Sequence[Verdict], programs: Sequence[Program]) -> bool:
    """Say whether everything drawn matches, and nobody was left out."""
    took_part = {verdict.oracle.split(" ")[0] for verdict in known if verdict.total}
    fine = all(verdict.fine and verdict.in_scope and verdict.total for verdict in known)
    return fine and took_part == {program.name for program in programs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when everything that every program picked was foretold."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.live", description=__doc__)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=60.0, help="to record for, 60 by default")
    parser.add_argument("--only", choices=[program.name for program in PROGRAMS], action="append")
    parser.add_argument("--keep", type=Path, help="a folder for the recorded cases")
    told = parser.parse_args(arguments)
    programs = [each for each in PROGRAMS if not told.only or each.name in told.only]
    say(f"seed {told.seed}")
    if problems := missing(programs):
        say("\n".join(problems))
        return 1
    oracles = {program: oracle_of(program) for program in programs}
    for program, oracle in oracles.items():
        differs = oracle != f"{program.name} {program.matched}"
        say(f"{oracle}, where {program.matched} is matched" if differs else oracle)
    with TemporaryDirectory(prefix="parity-") as temporary:
        kept = told.keep or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        try:
            asyncio.run(record(oracles, told.seed, told.seconds, kept))
        except (KeyboardInterrupt, asyncio.CancelledError):
            say("interrupted")
            return 130
        known = list(verdicts([kept]))
        for line in report(known):
            say(line)
    good = agreed(known, programs)
    say(f"seed {told.seed}: {'all matched' if good else 'NOT all matched'}")
    return 0 if good else 1


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        raise SystemExit(main())
