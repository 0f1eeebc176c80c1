"""Laws for balancers with the traits weighted, smooth, rotating and random."""

from collections.abc import Sequence

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law
from balancers.testing._prelude import prelude

__all__ = ["LAWS"]

_REQUESTS = 3000
_ROUNDING = 1e-9


def _drawn_palette(lab: BalancerLaboratory) -> Sequence[float]:
    """Return weights to draw from: equal ones, the highest and another one, or all."""
    palette = lab.drawn_palette()
    return (lab.one_of(palette), max(palette)) if lab.below(2) else palette


def _put_drawn_weights(lab: BalancerLaboratory, scale: float = 1) -> list[str]:
    """Insert two to five members with drawn weights, or twelve."""
    members = lab.add_members(12 if lab.below(10) == 9 else 2 + lab.below(4))
    palette = _drawn_palette(lab)
    for backend in members:
        lab.put(backend, lab.one_of(palette) * scale)
    return members


def _change_weights(lab: BalancerLaboratory, members: list[str]) -> None:
    """Change weights and members, with requests; afterwards no request is in flight."""
    palette = _drawn_palette(lab)
    for _ in lab.more(6):
        backend = lab.one_of(members)
        if lab.below(4) == 3:
            lab.discard(backend)
        lab.put(backend, lab.one_of((0, *palette)))
        if lab.eligible():
            lab.start(lab.pick(None))
            if lab.below(4) == 3:
                lab.run("quiet_requests(lb, 60)")
    lab.finish_all()
    for backend in members:
        if backend not in lab.weights or lab.below(4) < 3:
            lab.put(backend, lab.one_of(palette))
        elif lab.below(3):
            lab.put(backend, 0)


_CYCLES = 60


@law(needs="weighted", without="keyed", share=0.1)
def shares_follow_weights(lab: BalancerLaboratory) -> None:
    """A backend gets requests in proportion to its weight.

    Why: this is what a weight means.  Balancers that round weights, that ignore changes of weights,
    or that give the turn of a closed backend to its neighbour, break it.

    How it is tested: after changes of weights and members, flips and requests, all requests end,
    and 3000 new ones start.  Some backends are quiesced.  The count of each backend is compared
    with its share.  At 3000 requests, a share of
    5/7 that is wrong by 0.06 is detected.

    What it cannot see: smaller differences, and shares that depend on the durations of requests.
    """
    prelude(lab)
    members = _put_drawn_weights(lab)
    _change_weights(lab, members)
    total = sum(lab.weights.values())
    if not total:
        return
    lab.let("counts", "held_requests(lb, count)", count=_REQUESTS)
    for backend in members:
        share = lab.weights[backend] / total
        why = f"the share of {backend!r} must be {share:.4g}"
        slack = 5 + len(members) if share else 0
        lab.check_count("counts[backend]", _REQUESTS, share, why, slack=slack, backend=backend)


@law(needs="weighted", without="keyed", share=0.09)
def scale_free(lab: BalancerLaboratory) -> None:
    """Weights are relative: if all of them are multiplied by a number, nothing changes.

    Why: one person writes 1 and 2 for what another writes as 100 and 200.

    How it is tested: a twin gets all weights times a power of two, from 1/64 to 64 (from 2 to 8,
    if only certain weights are allowed).  If the balancer is smooth and draws
    no random numbers, both pick the same backends.  Otherwise 2400 requests of the twin are
    compared with the shares.

    What it cannot see: factors that are no powers of two.
    """
    factor = lab.one_of((2, 4, 8) if lab.settings.weights else (0.5, 1 / 64, 2, 64, 1 / 8))
    exact = "smooth" in lab.settings.traits and not lab.settings.takes_rng
    if exact:
        members = _put_drawn_weights(lab)
        lab.make("twin")
        for backend in members:
            weight = lab.weights[backend] * factor
            lab.run("twin.put(backend, weight=weight)", backend=backend, weight=weight)
        why = f"with weights times {factor}, other backends are picked"
        lab.check("[lb.pick() for _ in range(99)] == [twin.pick() for _ in range(99)]", why)
        return
    members = _put_drawn_weights(lab, factor)
    total = sum(lab.weights.values())
    lab.let("counts", "held_requests(lb, count)", count=2400)
    slack = 9 + len(members)
    for backend in members:
        share = lab.weights[backend] / total
        why = f"with weights times {factor}, the share of {backend!r} must be {share:.4g}"
        lab.check_count("counts[backend]", 2400, share, why, slack=slack, backend=backend)


@law(needs="smooth", without="keyed", share=0.2)
def never_over_by_more_than_one(lab: BalancerLaboratory) -> None:
    """After t picks, a backend has at most its share of t, plus 1 - 1/n.

    Why: a backend of weight 5 that gets five requests one after the other is overloaded for a
    moment, although its share is right.

    How it is tested: new balancers with 1 to 12 members and drawn weights pick 200 times.  The
    bound is that of nginx's smooth weighted round robin, for which it is proven.

    What it cannot see: backends that are behind their share, for which no such bound exists.
    """
    palette = lab.drawn_palette()
    members = lab.add_members(1 + lab.below(12))
    for backend in members:
        lab.put(backend, lab.one_of(palette))
    total = sum(lab.weights.values())
    picks = lab.let("picks", "[lb.pick() for _ in range(200)]")
    counts = dict.fromkeys(members, 0)
    for number, backend in enumerate(picks, start=1):
        counts[backend] = counts.get(backend, 0) + 1
        share = number * lab.weights.get(backend, 0) / total
        if counts[backend] > share + 1 - 1 / len(members) + _ROUNDING:
            lab.check(
                "picks[:number].count(backend) <= limit",
                f"after {number} picks, the share of {backend!r} is {share:.4g}",
                number=number,
                backend=backend,
                limit=int(share + 1 - 1 / len(members) + _ROUNDING),
            )


@law(needs="rotating", without="keyed", share=0.3)
def once_in_n(lab: BalancerLaboratory) -> None:
    """With equal weights, n backends are picked once each in n picks.

    Why: this is what round robin means.  A cursor that counts over all members, and not over those
    that are open, gives the turns of a closed backend to its neighbour.

    How it is tested: a new balancer serves up to four cycles; each must contain every backend once.
    In some examples, 60 cycles follow, which must contain every backend 60 times.  After members
    joined, left, or were quiesced, each backend must be picked between three and five times in four
    cycles.

    What it cannot see: the order within a cycle.
    """
    prelude(lab)
    members = lab.add_members(1 + lab.below(12))
    for _ in lab.more(2, 3):
        lab.let("counts", "quiet_requests(lb, count)", count=len(members))
        why = f"{len(members)} picks must contain each backend once"
        lab.check("sorted(counts) == members", why, members=sorted(members))
    if lab.below(4) == 3:
        lab.let("counts", "quiet_requests(lb, count)", count=_CYCLES * len(members))
        why = f"{_CYCLES} cycles must contain each backend {_CYCLES} times"
        line = "all(counts[b] == cycles for b in members)"
        lab.check(line, why, members=members, cycles=_CYCLES)
    for _ in lab.more(3):
        backend = lab.one_of([*lab.weights])
        if lab.below(2) and len(lab.weights) > 1:
            lab.discard(backend)
        elif len(lab.eligible()) > 1 or not lab.weights[backend]:
            lab.put(backend, 0 if lab.weights[backend] else 1)
        if lab.eligible():
            for _ in range(lab.below(3)):
                lab.run("quiet_requests(lb, 1)")
    open_ = lab.eligible()
    if open_:
        lab.let("counts", "quiet_requests(lb, count)", count=4 * len(open_))
        why = "in four cycles, each backend must be picked between three and five times"
        lab.check("all(3 <= counts[b] <= 5 for b in members)", why, members=open_)


@law(needs="random", without="keyed", share=0.08)
def draws_have_their_distribution(lab: BalancerLaboratory) -> None:
    """The probability of a backend is its weight divided by the sum of the weights.

    Why: a sampler with a rounding fault, or one that maps a collision to the next backend, prefers
    some backends by a few percent (Traefik's power of two choices did, at n = 4).

    How it is tested: 3000 picks without requests in flight are compared with the probabilities.
    Some backends are quiesced or avoided.

    What it cannot see: differences below 0.05.
    """
    prelude(lab)
    members = _put_drawn_weights(lab)
    for backend in members[2:]:
        if lab.below(4) == 3:
            lab.put(backend, 0)
    avoid = [backend for backend in members[:-1] if lab.below(3) == 2]
    if not lab.eligible(avoid):
        avoid = []
    weighted = "weighted" in lab.settings.traits
    shares = {b: lab.weights[b] if weighted else 1 for b in lab.eligible(avoid)}
    total = sum(shares.values())
    pick = "lb.pick(avoid=avoid)" if avoid else "lb.pick()"
    values = {"avoid": avoid} if avoid else {}
    lab.let("counts", f"Counter([{pick} for _ in range(count)])", count=_REQUESTS, **values)
    for backend, weight in shares.items():
        share = weight / total
        why = f"the probability of {backend!r} must be {share:.4g}"
        lab.check_count("counts[backend]", _REQUESTS, share, why, backend=backend)


@law(needs="random", without="keyed", share=0.02)
def draws_are_independent(lab: BalancerLaboratory) -> None:
    """A pick does not depend on the picks before.

    Why: a sampler that reuses a part of the last random number, or that shuffles once and iterates,
    has the right shares, but its picks come in patterns.

    How it is tested: among 3000 picks, disjoint pairs at the distances 1, 2 and 3 are compared.
    The number of equal pairs must be that of independent draws.

    What it cannot see: dependence over longer distances.
    """
    members = _put_drawn_weights(lab)
    weighted = "weighted" in lab.settings.traits
    weights = [lab.weights[b] if weighted else 1 for b in members]
    equal = sum((weight / sum(weights)) ** 2 for weight in weights)
    lab.let("picks", "[lb.pick() for _ in range(count)]", count=_REQUESTS)
    for lag in (1, 2, 3):
        starts = [n for n in range(_REQUESTS - lag) if n // lag % 2 == 0]
        why = f"equal picks at the distance {lag} must have the probability {equal:.4g}"
        line = (
            "sum(picks[n] == picks[n + lag] for n in range(len(picks) - lag) if n // lag % 2 == 0)"
        )
        lab.check_count(line, len(starts), equal, why, lag=lag)


LAWS = (
    shares_follow_weights,
    scale_free,
    never_over_by_more_than_one,
    once_in_n,
    draws_have_their_distribution,
    draws_are_independent,
)
