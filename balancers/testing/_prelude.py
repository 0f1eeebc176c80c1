"""Begins an example with calls that must have no effect on what follows."""

from balancers.testing._balancer_laboratory import BalancerLaboratory

__all__ = ["prelude"]

_JOIN = "lb.put('a', weight=1)"
_LEAVE = "lb.discard('a')"
_CALLS = (
    (_JOIN, "lb.pick()", _LEAVE),
    ("raised(lambda: lb.pick())", "raised(lambda: lb.pick(avoid=['a']))"),
    ("lb.finished('a')", _JOIN, "lb.finished('a')"),
    (_JOIN, "lb.started('a', bound=True)", "lb.finished('a')"),
    (_JOIN, "lb.started('a')", "lb.finished('a', outcome=FAILURE)"),
    (_JOIN, "lb.started('a')", _LEAVE, "lb.finished('a')"),
    (_JOIN, "lb.put('a', weight=0)", "raised(lambda: lb.pick())"),
    (_JOIN, "quiet_requests(lb, 60)"),
    (
        "for name in 'abcdefgh':\n    lb.put(name, weight=1)",
        "quiet_requests(lb, 20)",
        "for name in 'hgfedcb':\n    lb.discard(name)",
        _LEAVE,
    ),
)
"""Calls after which at most ``a`` is a member, and no request is in flight."""
_MEMBERS = 8


def prelude(lab: BalancerLaboratory) -> None:
    """Make ``lb`` and perform drawn calls: in every third example, and none in the others.

    The balancer must not be keyed.  Afterwards it has at most the member ``a``.
    """
    lab.make_balancer("lb")
    if lab.below(3) < 2:
        return
    for call in lab.one_of(_CALLS if lab.settings.max_members >= _MEMBERS else _CALLS[:-1]):
        lab.run(call)
        if call in {_JOIN, "lb.put('a', weight=0)"}:
            lab.weights["a"] = lab.last_weights["a"] = int(call == _JOIN)
        elif call == _LEAVE:
            lab.weights.pop("a", None)
