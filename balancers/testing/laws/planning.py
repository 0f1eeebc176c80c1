"""Laws for every balancer that has the optional method ``plan``."""

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law

__all__ = ["LAWS"]

_LENGTHS = (1, 2, 3, 3, 12)


@law(share=0.2)
def a_plan_takes_one_turn(lab: BalancerLaboratory) -> None:
    """``plan`` lists the picks of retries, and then the balancer is as after one pick.

    Why: a plan that takes no turn begins with the same backend again and again: this backend gets
    all requests.  A plan that takes a turn for each of its backends uses up the turns of backends
    that got no request, so that the shares are wrong (300 plans of 3 of 3 backends by round robin
    began with the same backend).

    How it is tested: in random histories, each backend of a plan is the pick of a copy that avoids
    the backends before it.  If picks are random, the first backend is that pick, and the others are
    different and eligible.  The next picks are those of a copy that has picked once.  A balancer
    without ``plan`` is not tested.

    What it cannot see: whether random backends of a plan, after the first one, have the right
    probabilities.
    """
    lab.begin()
    if not callable(getattr(lab.program.namespace["lb"], "plan", None)):
        return
    for _ in lab.more(4):
        lab.history(5)
        avoid = lab.some_of(lab.names) if lab.below(3) == 2 else []
        arguments = lab.arguments(lab.key(), lab.avoided(avoid) if avoid else [])
        given = "".join(f", {name}={name}" for name in arguments)
        n = lab.one_of(_LENGTHS)
        lab.run("before = deepcopy(lb)")
        plan = lab.let("plan", f"planned(lb, n{given})", n=n, **arguments)
        if "random" in lab.settings.traits:
            why = f"the plan {plan!r} does not begin with the pick"
            lab.check(f"plan[:1] == retried(before, 1{given})", why, **arguments)
            why = f"the plan {plan!r} is not {n} different eligible backends, or all of them"
            line = "len({*plan} & {*eligible}) == len(plan) == min(n, len(eligible))"
            lab.check(line, why, eligible=lab.eligible(avoid), n=n)
        else:
            why = f"the plan {plan!r} is not what picks with a growing avoid return"
            lab.check(f"plan == retried(before, n{given})", why, n=n, **arguments)
        why = "after the plan, the picks are not those after one pick"
        line = f"picks_after(lb, 6{given}) == picks_after(before, 6, picked=True{given})"
        lab.check(line, why, **arguments)


LAWS = (a_plan_takes_one_turn,)
