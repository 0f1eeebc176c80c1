"""Limits the retries in flight to a share of all requests in flight."""

from decimal import Decimal
from types import TracebackType
from typing import Self

from balancers._internal.checks import at_least, number, shown
from balancers.errors import AlreadyInUse, AlreadyReleased, InvalidSetting

__all__ = ["BudgetedRequest", "RetryBudget"]


class RetryBudget:
    """Allows a retry only if few of the requests in flight are retries.

    Retries help while few requests fail.  When most requests fail, retries multiply the load.

    A retry is allowed if fewer than ``min_retries`` retries are in flight.  It is also allowed if
    the retries in flight are fewer than ``share`` times the requests in flight.  ``share`` is a
    number from 0 to 1.  The defaults are those of Envoy: a share of 0.2, and 3 retries.

    :meth:`request` counts the requests for you.  A request is in flight during its ``with`` block,
    also while it waits before a retry.  So it does not matter when you ask for a retry: before or
    after you release the lease of the failed attempt.

    >>> budget = RetryBudget(share=0.2, min_retries=1)
    >>> with budget.request() as first, budget.request() as second:
    ...     first.retry(), second.retry(), budget.requests, budget.retries
    (True, False, 2, 1)
    >>> budget.requests, budget.retries
    (0, 0)

    If you count the requests yourself, call :meth:`begin` before each retry, and :meth:`end` after
    each retry that :meth:`begin` allowed.

    Every method is O(1).  Raises InvalidSetting if ``share`` is not from 0 to 1, or if
    ``min_retries`` is below 0.
    """

    def __init__(self, share: float = 0.2, min_retries: int = 3) -> None:
        if not 0 <= number("share", share) <= 1:
            raise InvalidSetting(f"share must be 0 to 1, not {shown(share)}")
        at_least(0, min_retries=min_retries)
        written = repr(float(share))  # so a share of 0.1 means exactly 1/10
        self._share = Decimal(written).as_integer_ratio()
        self._min_retries = min_retries
        self._retries = 0
        self._requests = 0

    @property
    def retries(self) -> int:
        """The number of retries in flight."""
        return self._retries

    @property
    def requests(self) -> int:
        """The number of requests whose ``with`` block is in progress."""
        return self._requests

    def request(self) -> "BudgetedRequest":
        """Return the context manager of one request, with all its retries."""
        return BudgetedRequest(self)

    def begin(self, in_flight: int) -> bool:
        """Return whether another retry is allowed.  If it is allowed, count it.

        ``in_flight`` is the number of all requests in flight.  It must include the request that
        asks, and all requests that wait before a retry.  The leases of a pool do not include them
        if the lease of the failed attempt is released before this call.  Then too few retries are
        allowed: after ten requests fail at once, a share of 1 allows only five retries.

        Raises InvalidSetting for a number below 0.
        """
        at_least(0, in_flight=in_flight)
        numerator, denominator = self._share
        if (
            self._retries >= self._min_retries
            and self._retries * denominator >= numerator * in_flight
        ):
            return False
        self._retries += 1
        return True

    def end(self) -> None:
        """Count the end of a retry.

        Raises AlreadyReleased if no retry is in flight.
        """
        if not self._retries:
            raise AlreadyReleased("no retry is in flight")
        self._retries -= 1

    def __repr__(self) -> str:
        numerator, denominator = self._share
        return (
            f"<RetryBudget: share {numerator / denominator}, min_retries {self._min_retries}, "
            f"{self._retries} in flight>"
        )


class BudgetedRequest:
    """Counts one request in a :class:`RetryBudget`, during a ``with`` block.

    Every attempt to serve the request belongs to the block.  At most one of them is in flight at a
    time.

    >>> def send(backends, budget, answers):
    ...     with budget.request() as request:
    ...         for backend in backends:
    ...             if backend in answers:
    ...                 return answers[backend]
    ...             if not request.retry():
    ...                 break
    ...         raise ConnectionError("no backend answered")
    >>> send(["a", "b", "c"], RetryBudget(), {"c": "pong"})
    'pong'
    """

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._state = "new"
        self._retrying = False

    def retry(self) -> bool:
        """Return whether this request may be retried.  If so, the retry is in flight from now on.

        An earlier retry of this request is not in flight any more, because it has failed.

        Raises AlreadyReleased outside of the ``with`` block.
        """
        if self._state != "entered":
            raise AlreadyReleased("the request is not in flight: ask within its with block")
        budget = self._budget
        if self._retrying:
            budget.end()
        self._retrying = budget.begin(budget.requests)
        return self._retrying

    def __enter__(self) -> Self:
        if self._state != "new":
            raise AlreadyInUse("a request of a retry budget is entered once")
        self._state = "entered"
        self._budget._requests += 1  # noqa: SLF001 - the two classes are one unit
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._state != "entered":
            return  # the request is not counted
        self._state = "ended"
        self._budget._requests -= 1  # noqa: SLF001 - the two classes are one unit
        if self._retrying:
            self._retrying = False
            self._budget.end()

    def __repr__(self) -> str:
        return f"<BudgetedRequest: {self._state}{', retrying' if self._retrying else ''}>"
