"""Code that a type checker must reject; an unnecessary ignore comment is an error too."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from random import Random

from balancers import HashRing, IPHash, Pool, PowerOfTwoChoices, RandomChoice, RoundRobin

numbers: RoundRobin[int] = RoundRobin([1, 2])
pool: Pool[int] = Pool(numbers)


def refused() -> None:
    """Never called: only read by the checkers."""
    numbers.put("a")  # type: ignore[arg-type]  # a backend of another type
    numbers.put(1, "heavy")  # type: ignore[arg-type]  # a weight is a number
    numbers.pick(avoid=["a"])  # type: ignore[list-item]  # avoid contains backends
    RandomChoice([1])  # type: ignore[call-arg]  # a generator is required
    PowerOfTwoChoices([1], Random(1))  # type: ignore[call-arg]  # and a keyword
    HashRing([1]).pick(1.5)  # type: ignore[arg-type]  # a float is no key
    IPHash([1], over=3)  # type: ignore[arg-type]  # no balancer
    Pool([1])  # type: ignore[arg-type]  # no balancer either
    pool.acquire()  # type: ignore[call-arg]  # time is passed in
    pool.add("a")  # type: ignore[arg-type]  # a backend of another type
    pool.acquire(0.0).backend.upper()  # type: ignore[attr-defined]  # it is an int
    pool.release(1, 0.0)  # type: ignore[arg-type]  # no lease
