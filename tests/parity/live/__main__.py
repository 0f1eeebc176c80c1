"""``python -m tests.parity.live``: record picks of real programs for random cases, and replay."""

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

from tests.parity.live import generate
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
"""The number of cases that a program serves at the same time."""


def randomness(program: Program, seed: int, turn: int) -> Random:
    """Return the random generator for the cases of one run of a program."""
    return Random(f"{seed}/{program.name}/{turn}")


async def batch(program: Program, oracle: str, seed: int, turn: int, kept: Path) -> None:
    """Generate cases, run the program, and write its picks; repeatable by seed and turn."""
    rng = randomness(program, seed, turn)
    backends = Backends()
    try:
        fronts: list[Front] = []
        while len(fronts) < CASES:
            case = program.generate(rng)
            front = (f"127.250.{rng.randrange(256)}.{rng.randrange(1, 255)}", generate.port(rng))
            listening, refusing = program.servers(case)
            try:
                for address in listening:
                    await backends.listen(address)
                for address in refusing:
                    backends.refuse(address)
            except OSError as error:
                say(f"{program.name}, turn {turn}: another case is generated, {error}")
                continue
            backends.unhealthy.update(program.unhealthy(case))
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
    """Run every program in turn until the time is over, and at least once."""
    end = time.monotonic() + seconds
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    turn = 0
    while not turn or time.monotonic() < end:
        for program, oracle in programs.items():
            await batch(program, oracle, seed, turn, kept)
            if turn and time.monotonic() > end:
                break
        turn += 1


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - the report


def missing(programs: Sequence[Program]) -> list[str]:
    """Return a message per program that is not installed."""
    return [
        f"{program.name} is not installed: {program.package}"
        for program in programs
        if executable(program.name) is None
    ]


def oracle_of(program: Program) -> str:
    """Return the name and the version of a program."""
    return f"{program.name} {version(executable(program.name) or program.name)}"


def all_matched(results: Sequence[Verdict], programs: Sequence[Program]) -> bool:
    """Return whether every case matches, and every program has cases."""
    took_part = {verdict.oracle.split(" ")[0] for verdict in results if verdict.total}
    passed = all(verdict.passed and verdict.in_scope and verdict.total for verdict in results)
    return passed and took_part == {program.name for program in programs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record and replay; return 0 if every pick of every program matches."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.live", description=__doc__)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="the time to record, 60 by default"
    )
    parser.add_argument("--only", choices=[program.name for program in PROGRAMS], action="append")
    parser.add_argument("--keep", type=Path, help="a folder for the recorded cases")
    options = parser.parse_args(arguments)
    programs = [each for each in PROGRAMS if not options.only or each.name in options.only]
    say(f"seed {options.seed}")
    if problems := missing(programs):
        say("\n".join(problems))
        return 1
    oracles = {program: oracle_of(program) for program in programs}
    for program, oracle in oracles.items():
        differs = oracle != f"{program.name} {program.matched}"
        say(f"{oracle}; the presets match {program.matched}" if differs else oracle)
    with TemporaryDirectory(prefix="parity-") as temporary:
        kept = options.keep or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        try:
            asyncio.run(record(oracles, options.seed, options.seconds, kept))
        except (KeyboardInterrupt, asyncio.CancelledError):
            say("interrupted")
            return 130
        results = list(verdicts([kept]))
        for line in report(results):
            say(line)
    matched = all_matched(results, programs)
    say(f"seed {options.seed}: {'all matched' if matched else 'NOT all matched'}")
    return 0 if matched else 1


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        raise SystemExit(main())
