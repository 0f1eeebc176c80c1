"""Retry on another backend: ``avoid`` holds those this request was tried on."""

from collections.abc import Callable

from balancers import HealthChecks, NoBackendAvailable, Pool, RoundRobin


def send_somewhere(
    pool: Pool[str],
    clock: Callable[[], float],
    send: Callable[[str], bytes],
    attempts: int = 3,
) -> bytes:
    """Try so many backends, each once; raise what the last one raised."""
    tried: set[str] = set()
    failure: OSError | None = None
    while len(tried) < attempts:
        try:
            lease = pool.acquire(clock(), avoid=tried)
        except NoBackendAvailable as refusal:
            raise failure or refusal from None  # who failed tells more than who is left
        tried.add(lease.backend)
        ok = None
        try:
            answer = send(lease.backend)
            ok = True
        except OSError as error:
            ok, failure = False, error
        else:
            return answer
        finally:
            pool.release(lease, clock(), ok)
    raise failure or ValueError(f"attempts must be 1 or more, not {attempts!r}")


def main() -> None:
    """Lose one backend of three, and no request."""
    asked: list[str] = []

    def send(backend: str) -> bytes:
        asked.append(backend)
        if backend == "b":
            raise ConnectionRefusedError(backend)
        return b"pong"

    ticks = iter(range(10**6))
    health: HealthChecks[str] = HealthChecks(unhealthy_threshold=3)
    pool = Pool(RoundRobin(["a", "b", "c"]), [health])
    answers = [send_somewhere(pool, lambda: next(ticks) / 100, send) for _ in range(100)]
    print(len(answers), "answered,", asked.count("b"), "tries lost,", "b is", *pool.state("b"))


if __name__ == "__main__":
    main()
