"""Writes traces of heartbeats: ``python -m tests.redundancy.heartbeat_traces``.

Each trace is the list of times, in milliseconds, at which the heartbeats of one healthy member
arrive.  The member sends one every second, unless the trace says otherwise.  It is one number in
each line.  The files are data of the tests; a test generates them again and compares.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from random import Random

__all__ = ["HEARTBEATS", "TRACES", "arrivals", "generated"]

FOLDER = Path(__file__).parent / "traces"
HEARTBEATS = 3000
SEED = 20_260
Trace = Callable[[Random], Iterator[float]]


def regular(rng: Random) -> Iterator[float]:
    """Yield seconds: a delay of 20 ms, with a standard deviation of 5 ms."""
    for second in range(1, HEARTBEATS + 1):
        yield second + max(0.0, rng.gauss(0.02, 0.005))


def jittered(rng: Random) -> Iterator[float]:
    """Yield seconds: an exponential delay of 200 ms on average; the order of arrival is kept."""
    return accumulate(
        (second + rng.expovariate(1 / 0.2) for second in range(1, HEARTBEATS + 1)),
        lambda last, time: max(time, last + 0.001),
    )


def bursts(rng: Random) -> Iterator[float]:
    """Yield seconds: in one of 50 seconds a burst begins, in which 1 to 4 heartbeats are lost."""
    second = sent = 0
    while sent < HEARTBEATS:
        second += 1
        if rng.random() < 1 / 50:
            second += rng.randint(1, 4)
        sent += 1
        yield second + max(0.0, rng.gauss(0.02, 0.005))


def slowing(rng: Random) -> Iterator[float]:
    """Yield seconds: the interval grows steadily from 1 to 6 seconds, and varies by a tenth."""
    time = 0.0
    for heartbeat in range(HEARTBEATS):
        interval = 1 + 5 * heartbeat / HEARTBEATS
        time += interval * rng.uniform(0.9, 1.1)
        yield time


TRACES: dict[str, Trace] = {
    "regular": regular,
    "jittered": jittered,
    "bursts of loss": bursts,
    "slowing": slowing,
}


def path_of(trace: str) -> Path:
    """Return the file of a trace."""
    return FOLDER / f"{trace.replace(' ', '_')}.txt"


def generated(trace: str) -> str:
    """Return the text of a trace, from the seed."""
    times = TRACES[trace](Random(f"{SEED} {trace}"))
    return "".join(f"{round(1000 * time)}\n" for time in times)


def arrivals(trace: str) -> list[float]:
    """Return the times of a committed trace in seconds."""
    return [int(line) / 1000 for line in path_of(trace).read_text(encoding="ascii").splitlines()]


if __name__ == "__main__":
    for name in TRACES:
        path_of(name).write_text(generated(name), encoding="ascii")
