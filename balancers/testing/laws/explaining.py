"""Laws for every balancer in a pool that explains requests."""

from typing import Any

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law

__all__ = ["LAWS"]

_PICKED = "(leases[-1].backend, leases[-1].bound) == (explained.backend, explained.bound)"


@law(share=0.2)
def explains_what_acquire_does(lab: BalancerLaboratory) -> None:
    """``Pool.explain`` says what ``Pool.acquire`` does then, and changes nothing.

    Why: an explanation that is wrong is worse than none, and one that changes the next picks
    disturbs what it explains.  A pool asks a deep copy of the balancer.  So a balancer that shares
    state with its copy, or whose copy picks differently, is explained wrongly.

    How it is tested: two pools over equal balancers get the same requests, ends of requests and
    changes of weights.  One of them explains each request before it is made.  Requests prefer and
    avoid backends.

    What it cannot see: gates.  A balancer with state outside of the object, for example of its
    class, that has no effect on the picks of this history.
    """
    lab.begin(twins=("other",))
    lab.history(6)
    lab.run("pool, plain = Pool(lb), Pool(other)")
    lab.run("leases, others = [], []")
    now = lab.now
    for _ in lab.more(12):
        now += lab.one_of((0.0, 0.5, 10.0))
        action = lab.one_of(("request", "request", "request", "release", "weight"))
        if action == "request":
            _request(lab, now)
        elif action == "release" and lab.program.namespace["leases"]:
            ok = lab.one_of((True, False))
            lab.run("pool.release(leases.pop(), now, ok=ok)", now=now, ok=ok)
            lab.run("plain.release(others.pop(), now, ok=ok)", now=now, ok=ok)
        elif action == "weight" and lab.weights:
            backend = lab.one_of([*lab.weights])
            weight = lab.one_of((0, *lab.palette))
            for name in ("pool", "plain"):
                line = f"{name}.set_weight(backend, weight, now=now)"
                lab.run(line, backend=backend, weight=weight, now=now)


def _request(lab: BalancerLaboratory, now: float) -> None:
    """Explain a request, and make it in both pools."""
    key = lab.key()
    values: dict[str, Any] = {"now": now} if key is None else {"now": now, "key": key}
    if lab.below(4) == 3:
        values["prefer"] = lab.one_of(lab.names)
        if lab.below(2):
            values["strict"] = True
    if lab.below(3) == 2:
        values["avoid"] = lab.avoided(lab.some_of(lab.names))
    call = lab.call(values)
    explained = lab.let("explained", f"pool.explain({call})", **values)
    changed = "the explanations have changed the picks"
    if explained.error is None:
        lab.run(f"leases.append(pool.acquire({call}))", **values)
        lab.check(_PICKED, "acquire picks another backend than explain")
        lab.run(f"others.append(plain.acquire({call}))", **values)
        lab.check("others[-1].backend == leases[-1].backend", changed)
        return
    why = "acquire raises another error than explain"
    lab.check(f"str(raised(lambda: pool.acquire({call}))) == str(explained.error)", why, **values)
    line = f"str(raised(lambda: plain.acquire({call}))) == str(explained.error)"
    lab.check(line, changed, **values)


LAWS = (explains_what_acquire_does,)
