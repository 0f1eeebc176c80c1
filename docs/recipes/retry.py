"""Retry on another backend: ``avoid`` contains the backends that were tried."""

from collections.abc import Callable

from balancers import HealthChecks, NoBackendAvailable, Pool, RoundRobin


def send_with_retries(
    pool: Pool[str],
    clock: Callable[[], float],
    send: Callable[[str], bytes],
    attempts: int = 3,
) -> bytes:
    """Try up to ``attempts`` backends, each once; raise the error of the last one."""
    tried: set[str] = set()
    failure: OSError | None = None
    while len(tried) < attempts:
        try:
            lease = pool.acquire(clock(), avoid=tried)
        except NoBackendAvailable as refusal:
            raise failure or refusal from None  # the last failure is more useful
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
    """Send a hundred requests while one backend of three fails."""
    requested: list[str] = []

    def send(backend: str) -> bytes:
        requested.append(backend)
        if backend == "b":
            raise ConnectionRefusedError(backend)
        return b"pong"

    ticks = iter(range(10**6))
    health: HealthChecks[str] = HealthChecks(unhealthy_threshold=3)
    pool = Pool(RoundRobin(["a", "b", "c"]), [health])
    answers = [send_with_retries(pool, lambda: next(ticks) / 100, send) for _ in range(100)]
    failed, (state,) = requested.count("b"), pool.state("b")
    print(f"{len(answers)} answered, {failed} attempts failed, b is {state}")


if __name__ == "__main__":
    main()
