"""Counts the tokens that an engine has not computed yet, for the requests in flight on it."""

from collections import deque

__all__ = ["Unread"]


class Unread:
    """The tokens of the requests in flight on one engine, without those that are in its cache.

    A request is reported by :meth:`start` with the tokens that its key says.  If the request has a
    cost, :meth:`charge` follows at once and replaces these tokens by the cost, less the cached
    tokens.  A later charge says only how much the cost changes, and not of which request.  So the
    cached tokens of a request are found by its cost: they count until a charge takes away as much.
    Requests whose costs differ are never confused.  When no request is in flight, the sum is 0.
    """

    __slots__ = ("_cached", "_cached_requests", "_tokens", "_without_cost", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self._tokens = 0
        self._without_cost: deque[int] = deque()
        self._cached: dict[int, list[int]] = {}
        """The cached tokens of requests, by their cost."""
        self._cached_requests = 0

    @property
    def tokens(self) -> int:
        """The sum over all requests in flight."""
        return max(self._tokens, 0)

    def start(self, tokens: int) -> None:
        """Count a request with the tokens of its key that are not cached; O(1)."""
        self.requests += 1
        self._tokens += tokens
        self._without_cost.append(tokens)

    def price(self, cost: int, cached: int) -> None:
        """Replace the tokens of the request that has just started by its cost; O(1)."""
        hit = min(cached, cost - 1)
        self._tokens += cost - hit - self._without_cost.pop()
        if hit > 0:
            self._cached.setdefault(cost, []).append(hit)
            self._cached_requests += 1

    def charge(self, change: int) -> None:
        """Change the cost of a request in flight; O(1)."""
        self._tokens += change
        if change < 0 and -change in self._cached:
            self._take(-change)

    def finish(self) -> None:
        """Remove a request that has ended; O(1)."""
        if not self.requests:
            return
        self.requests -= 1
        while len(self._without_cost) + self._cached_requests > self.requests:
            if self._without_cost:
                self._tokens -= self._without_cost.popleft()
            else:
                self._take(next(iter(self._cached)))

    def _take(self, cost: int) -> None:
        """Count the cached tokens of a request no longer."""
        hits = self._cached[cost]
        self._tokens += hits.pop(0)
        self._cached_requests -= 1
        if not hits:
            del self._cached[cost]
