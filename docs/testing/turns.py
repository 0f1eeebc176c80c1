"""A round robin with a mistake, and its check."""

from collections.abc import Collection

from balancers import Key
from balancers.membership import Membership, checked_avoid
from balancers.testing import check_balancer


class Turns(Membership[str]):
    turn = 0

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        avoid = checked_avoid(avoid)
        backends = [b for b, weight in self.weights.items() if weight and b not in avoid]
        if not backends:
            raise self.refusal()
        self.turn += 1
        return backends[self.turn % len(backends)]


if __name__ == "__main__":
    check_balancer(Turns, ["rotating"], examples=100)
