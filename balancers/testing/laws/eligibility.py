"""Laws for every balancer: which backends may be picked, and what is refused."""

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law

__all__ = ["LAWS"]

_MOST_LINES = 100_000


@law()
def refuses_in_bounded_work(lab: BalancerLaboratory) -> None:
    """When no backend can be picked, ``pick`` ends soon.

    Why: a search that continues until it finds an open backend never ends when none is open.  It
    then holds the lock of the pool (Traefik pull request 13511).

    How it is tested: after a random history, all backends are quiesced, avoided, or both, in turn.
    The lines that ``pick`` executes are counted.  More than 100 000 lines are a breach.

    What it cannot see: work in C, and loops that need more than 12 members.
    """
    lab.begin()
    for _ in lab.more(6):
        lab.step()
    quiesced = lab.some_of([*lab.weights])
    for backend in quiesced:
        lab.put(backend, 0)
    arguments = lab.arguments(lab.key(), lab.eligible())
    lab.check(
        f"executed_lines(lambda: lb.pick({lab.call(arguments)}), limit) <= limit",
        f"a refusal executed more than {_MOST_LINES} lines",
        limit=_MOST_LINES,
        **arguments,
    )


@law()
def picks_only_eligible_backends(lab: BalancerLaboratory) -> None:
    """``pick`` returns a member that has a positive weight and is not avoided.

    Why: requests that are sent to a removed, quiesced or avoided backend fail.

    How it is tested: every pick of a random history is compared with the members, in all forms of
    ``avoid``.

    What it cannot see: whether the pick is a good one.
    """
    lab.begin(actions=("put", "flip", "discard", "re_add", "start", "finish", "tick", "pick"))
    for _ in lab.more():
        lab.step()
        avoid = lab.some_of(lab.names) if lab.below(2) else []
        eligible = lab.eligible(avoid)
        if eligible:
            arguments = lab.arguments(lab.key(), lab.avoided(avoid))
            picked = lab.let("picked", f"lb.pick({lab.call(arguments)})", **arguments)
            why = f"{picked!r} was picked, which is not eligible"
            lab.check("picked in eligible", why, eligible=eligible)


LAWS = (refuses_in_bounded_work, picks_only_eligible_backends)
