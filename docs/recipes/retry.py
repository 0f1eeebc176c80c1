"""Retry on another backend: ``avoid`` contains the backends that were tried."""

from collections.abc import Callable
from typing import NamedTuple

from balancers import HealthChecks, NoBackendAvailable, Pool, RoundRobin

SERVER_ERROR = 500


class Response(NamedTuple):
    status: int
    body: bytes


def send_with_retries(
    pool: Pool[str],
    clock: Callable[[], float],
    send: Callable[[str], Response],
    attempts: int = 3,
) -> Response:
    """Try up to ``attempts`` backends, each once; return or raise the result of the last one."""
    tried: set[str] = set()
    result: Response | OSError | None = None
    while len(tried) < attempts:
        try:
            with pool.lease(clock, avoid=tried) as lease:
                tried.add(lease.backend)
                result = send(lease.backend)
                if result.status < SERVER_ERROR:
                    return result
                lease.failed(status=result.status)
        except OSError as error:  # the lease is released as a failure
            result = error
        except NoBackendAvailable:
            if result is None:
                raise
            break  # the last result is more useful than the refusal
    if isinstance(result, Response):
        return result
    raise result or ValueError(f"attempts must be 1 or more, not {attempts!r}")


def main() -> None:
    """Send a hundred requests while one backend of three fails."""
    requested: list[str] = []

    def send(backend: str) -> Response:
        requested.append(backend)
        if backend != "b":
            return Response(200, b"pong")
        if requested.count("b") > 1:
            raise ConnectionRefusedError(backend)
        return Response(503, b"stopping")

    ticks = iter(range(10**6))
    health: HealthChecks[str] = HealthChecks(unhealthy_threshold=3)
    pool = Pool(RoundRobin(["a", "b", "c"]), [health])
    answers = [send_with_retries(pool, lambda: next(ticks) / 100, send) for _ in range(100)]
    answered = sum(answer.status < SERVER_ERROR for answer in answers)
    failed, (state,) = requested.count("b"), pool.state("b")
    print(f"{answered} answered, {failed} attempts failed, b is {state}")


if __name__ == "__main__":
    main()
