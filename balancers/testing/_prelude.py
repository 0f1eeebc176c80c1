"""Begins an example with calls that must have no effect on what follows."""

from balancers.testing._balancer_laboratory import BalancerLaboratory

__all__ = ["prelude"]

_CALLS = (
    (),
    ("lb.put('a', weight=1)", "lb.pick()", "lb.discard('a')"),
    ("raised(lambda: lb.pick())", "raised(lambda: lb.pick(avoid=['a']))"),
    ("lb.finished('a')", "lb.put('a', weight=1)", "lb.finished('a')"),
    ("lb.put('a', weight=1)", "lb.started('a', bound=True)", "lb.finished('a')"),
    ("lb.put('a', weight=1)", "lb.started('a')", "lb.finished('a', outcome=FAILURE)"),
    ("lb.put('a', weight=1)", "lb.started('a')", "lb.discard('a')", "lb.finished('a')"),
    ("lb.put('a', weight=1)", "lb.put('a', weight=0)", "raised(lambda: lb.pick())"),
    ("lb.put('a', weight=1)", "quiet_requests(lb, 60)"),
)
"""Calls after which at most ``a`` is a member, and no request is in flight."""


def prelude(lab: BalancerLaboratory) -> None:
    """Make ``lb`` and perform drawn calls: in every third example, and none in the others.

    The balancer must not be keyed.  Add the members afterwards.
    """
    lab.make_balancer("lb")
    if lab.below(3) == 2:
        for call in lab.one_of(_CALLS):
            lab.run(call)
