"""Laws for balancers with the traits least_loaded and bounded."""

from fractions import Fraction
from math import ceil

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law
from balancers.testing._prelude import prelude

__all__ = ["LAWS"]


@law(needs="least_loaded", without="keyed")
def never_strictly_busier(lab: BalancerLaboratory) -> None:
    """With equal weights, the picked backend has the fewest requests in flight.

    Why: this is what least connections means.  A list of candidates that is not emptied when a less
    busy backend is found gives half of the traffic to a busy one (caddy's ``random_choose``).

    How it is tested: in random histories of requests, bound ones among them, of flips and avoided
    backends, each pick is compared with the counts of all eligible backends.

    What it cannot see: unequal weights.
    """
    prelude(lab)
    if lab.weights:
        lab.discard("a")
    lab.begin(least=1)
    for backend in [*lab.weights]:
        lab.put(backend, lab.palette[0])
    lab.palette = lab.palette[:1]
    for _ in lab.more(24):
        action = lab.below(6)
        if action < 2:
            lab.start(lab.one_of([*lab.weights] or ["a"]), bound=bool(lab.below(2)))
        elif action == 2:
            lab.step()
        elif action == 3:
            lab.finish(lab.one_of(lab.names))
        avoid = lab.some_of(lab.names) if lab.below(4) == 3 else []
        eligible = lab.eligible(avoid)
        if not eligible:
            continue
        arguments = lab.arguments(None, avoid)
        picked = lab.let("picked", f"lb.pick({lab.call(arguments)})", **arguments)
        least = min(lab.in_flight[backend] for backend in eligible)
        idle = [backend for backend in eligible if lab.in_flight[backend] == least]
        why = f"{picked!r} has {lab.in_flight[picked]} requests in flight, others have {least}"
        lab.check("picked in idle", why, idle=idle)
        if lab.below(2):
            lab.start(picked)


@law(needs="least_loaded", without="keyed", share=0.1)
def ties_spread(lab: BalancerLaboratory) -> None:
    """Backends that are equally loaded take turns, or are drawn at random.

    Why: if the first of the list wins each tie, it gets all requests of a quiet service, and its
    caches and connections are the only warm ones (LiteLLM's least-busy rule).

    How it is tested: all backends have the same number of requests in flight.  Of 40 n single
    requests, each backend must get at least five.

    What it cannot see: an order that repeats.
    """
    prelude(lab)
    members = lab.add_members(2 + lab.below(4))
    for backend in members:
        for _ in range(lab.one_of((0, 3)) if backend == members[0] else lab.in_flight[members[0]]):
            lab.start(backend)
    lab.let("counts", "quiet_requests(lb, count)", count=40 * len(members))
    for backend in members:
        why = f"{backend!r} gets too few of {40 * len(members)} requests, with equal loads"
        lab.check("counts[backend] >= 5", why, backend=backend)


@law(needs="bounded")
def the_bound_holds(lab: BalancerLaboratory) -> None:
    """No picked backend gets more than ``bound`` times its share of the requests, rounded up.

    Why: the bound is what protects the owner of a popular key.  Programs differ by one: Envoy
    accepts a request when the bound is reached, HAProxy does not.

    How it is tested: in random histories with few keys, each picked request is counted.  Then the
    backend must have at most ⌈bound · total · weight / sum of weights⌉ requests in flight, where
    ``total`` includes this request, and the sum is that of the weights of the open backends.

    What it cannot see: whether the bound is used fully.
    """
    bound = Fraction(str(lab.settings.bound))
    lab.begin(least=1, actions=("request", "finish", "put", "flip", "start", "discard", "tick"))
    for _ in lab.more(24):
        if lab.below(3) == 2:
            lab.step()
        eligible = lab.eligible()
        if not eligible:
            continue
        picked = lab.pick(lab.key())
        total = sum(lab.in_flight[backend] for backend in lab.weights) + 1
        weighted = "weighted" in lab.settings.traits
        weights = {b: Fraction(str(lab.weights[b])) if weighted else Fraction(1) for b in eligible}
        limit = ceil(bound * total * weights[picked] / sum(weights.values()))
        lab.start(picked)
        if lab.in_flight[picked] > limit:
            busy = lab.in_flight[picked]
            why = f"{picked!r} has {busy} of {total} requests in flight, the bound is {limit}"
            lab.check("busy <= limit", why, busy=busy, limit=limit)


LAWS = (never_strictly_busier, ties_spread, the_bound_holds)
