"""Counts the tokens that an engine has not computed yet, for the requests in flight on it."""

from collections import deque

__all__ = ["Unread"]


class Unread:
    """The tokens of the requests in flight on one engine, without those that are in its cache.

    A request is reported by :meth:`start` with the tokens that its key says.  If the request has a
    cost, :meth:`price` follows at once and replaces these tokens by the cost, less the cached
    tokens.  A later charge says only how much the cost changes, and not of which request.  So the
    cached tokens of a request are found by its cost: they count until a charge takes away as much.
    Requests whose costs differ are never confused.  The last charge of a request may come before
    or after its end.  When no request is in flight, the sum is 0.
    """

    __slots__ = (
        "_cached",
        "_cached_requests",
        "_cost",
        "_hidden",
        "_keyed",
        "_sum",
        "number",
        "requests",
        "weight",
    )

    def __init__(self, number: int = 0) -> None:
        self.number = number
        """The number of the engine."""
        self.weight = 1.0
        """The weight of the engine."""
        self.requests = 0
        self._sum = 0
        """The tokens of the requests without a cost."""
        self._cost = 0
        self._hidden = 0
        """The cached tokens, which the cost contains."""
        self._cached: dict[int, list[int]] = {}
        """The cached tokens of requests, by their cost."""
        self._cached_requests = 0
        self._keyed: deque[int] = deque()
        """The tokens of each request without a cost."""

    @property
    def tokens(self) -> int:
        """The sum over all requests in flight."""
        rest = self._cost - self._hidden
        return self._sum + rest if rest > 0 else self._sum

    def start(self, tokens: int) -> None:
        """Count a request with the tokens of its key that are not cached; O(1) amortised."""
        while len(self._keyed) + self._cached_requests > self.requests:
            if self._keyed:
                self._sum -= self._keyed.popleft()
            else:  # its cost has changed, so its end was not recognised
                self._take(next(iter(self._cached)))
        self.requests += 1
        self._sum += tokens
        self._keyed.append(tokens)

    def price(self, cost: int, cached: int) -> None:
        """Replace the tokens of the request that has just started by its cost; O(1)."""
        self._sum -= self._keyed.pop()
        self._cost += cost
        hit = cached if cached < cost else cost - 1
        if hit:
            self._hidden += hit
            self._cached_requests += 1
            hits = self._cached.get(cost)
            if hits is None:
                self._cached[cost] = [hit]
            else:
                hits.append(hit)

    def charge(self, change: int) -> None:
        """Change the cost of a request in flight; O(1) amortised."""
        self._cost += change
        if change < 0 and self._cached:
            if -change in self._cached:
                self._take(-change)
            while not self._cost and self._cached:
                self._take(next(iter(self._cached)))

    def finish(self) -> None:
        """Remove a request that has ended; O(1)."""
        if self.requests:
            self.requests -= 1
            while len(self._keyed) > self.requests:
                self._sum -= self._keyed.popleft()

    def _take(self, cost: int) -> None:
        """Count the cached tokens of a request no longer."""
        hits = self._cached[cost]
        self._hidden -= hits.pop(0)
        self._cached_requests -= 1
        if not hits:
            del self._cached[cost]
