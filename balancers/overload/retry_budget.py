"""Limits the retries in flight to a share of all requests in flight."""

from decimal import Decimal

from balancers._internal.checks import at_least, number
from balancers.errors import AlreadyReleased, InvalidSetting

__all__ = ["RetryBudget"]


class RetryBudget:
    """Allows a retry only if few of the requests in flight are retries.

    Retries help while few requests fail.  When most requests fail, retries multiply the load.

    A retry is allowed if fewer than ``min_retries`` retries are in flight.  It is also allowed if
    the retries in flight are fewer than ``share`` times the requests in flight.  Call :meth:`begin`
    before each retry.  Call :meth:`end` after each retry that :meth:`begin` allowed.

    ``share`` is a number from 0 to 1.  The defaults are those of Envoy: a share of 0.2, and 3
    retries.

    >>> budget = RetryBudget(share=0.2, min_retries=1)
    >>> [budget.begin(in_flight=10) for _ in range(3)]
    [True, True, False]
    >>> budget.end()
    >>> budget.begin(in_flight=10)
    True

    Every method is O(1).  Raises InvalidSetting if ``share`` is not from 0 to 1, or if
    ``min_retries`` is below 0.
    """

    def __init__(self, share: float = 0.2, min_retries: int = 3) -> None:
        if not 0 <= number("share", share) <= 1:
            raise InvalidSetting(f"share must be 0 to 1, not {share!r}")
        at_least(0, min_retries=min_retries)
        written = repr(float(share))  # so a share of 0.1 means exactly 1/10
        self._share = Decimal(written).as_integer_ratio()
        self._min_retries = min_retries
        self._retries = 0

    @property
    def retries(self) -> int:
        """The number of retries in flight."""
        return self._retries

    def begin(self, in_flight: int) -> bool:
        """Return whether another retry is allowed.  If it is allowed, count it.

        ``in_flight`` is the number of all requests in flight.  It includes first attempts and
        retries.  Raises InvalidSetting for a number below 0.
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
