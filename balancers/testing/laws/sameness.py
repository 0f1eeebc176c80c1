"""Laws for every balancer: what makes no difference to its picks."""

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law
from balancers.testing.programs import SaltedName

__all__ = ["LAWS"]


@law(share=0.5)
def put_again_changes_nothing(lab: BalancerLaboratory) -> None:
    """A second ``put`` with the same weight has no effect.

    Why: a configuration that is read again every few seconds would otherwise restart the cycle or
    rebuild the table each time.

    How it is tested: a balancer gets additional calls of ``put`` with the weights that it has, and
    picks like a twin that does not get them.

    What it cannot see: additional work that does not change a pick.
    """
    lab.begin(twins=["twin"])
    for _ in lab.more(8):
        lab.history(3)
        for backend in lab.some_of([*lab.weights]):
            weight = lab.weights[backend]
            weight = float(weight) if lab.below(4) == 3 else weight
            lab.run("lb.put(backend, weight=weight)", backend=backend, weight=weight)
        if lab.eligible():
            lab.start(lab.pick(lab.key()))


@law(share=0.06)
def last_put_wins(lab: BalancerLaboratory) -> None:
    """Only the last weight of a backend counts.

    Why: a mode that is chosen when the members join, and not when their weights change, ignores new
    weights silently (Envoy issue 14360).

    How it is tested: weights are changed, also to 0 and back, with traffic between the changes.  A
    weighted balancer must then share 240 requests by the last weights.  A keyed one must map 200
    keys like a new one with these weights, unless its map is historical.  Any other balancer must
    pick each backend whose last weight is positive.

    What it cannot see: small differences of the shares.
    """
    whole = lab.settings.weights or (1, 4)
    members = lab.add_members(2, min(whole))
    for _ in lab.more(3):
        lab.put(lab.one_of(members), lab.one_of([0, *whole]))
        for _ in range(lab.below(3)):
            if lab.eligible():
                lab.start(lab.pick(lab.key()))
        if lab.eligible() and not lab.keyed and lab.below(3) == 2:
            lab.run("quiet_requests(lb, 60)")
        lab.finish_all()
    heavy = lab.below(len(members))
    for number, backend in enumerate(members):
        lab.put(backend, max(whole) if number == heavy else min(whole))
    if lab.keyed:
        _check_that_a_new_one_agrees(lab)
        return
    weighted = "weighted" in lab.settings.traits
    total = sum(lab.weights.values())
    lab.let("counts", "held_requests(lb, 240)")
    for backend in members:
        why = f"{backend!r} does not get its share of the last weights"
        if weighted:
            share = lab.weights[backend] / total
            lab.check_count("counts[backend]", 240, share, why, slack=5, backend=backend)
        else:
            why = f"{backend!r} is never picked, although its last weight is positive"
            lab.check("counts[backend] > 0", why, backend=backend)


def _check_that_a_new_one_agrees(lab: BalancerLaboratory) -> None:
    if lab.settings.traits & {"historical", "bounded"}:
        return
    lab.let_keys(200)
    lab.make("new")
    for backend, weight in lab.weights.items():
        lab.run("new.put(backend, weight=weight)", backend=backend, weight=weight)
    line = "[lb.pick(key=key) for key in keys] == [new.pick(key=key) for key in keys]"
    lab.check(line, "a new balancer with the same weights maps keys to other backends")


@law(share=0.3)
def copies_and_pickles_go_on_alike(lab: BalancerLaboratory) -> None:
    """A deep copy and a pickle continue as the original does, and share nothing with it.

    Why: a simulation, a what-if question and a restart use copies.  A copy that shares a list with
    the original changes the picks of real traffic.

    How it is tested: after a random history, a deep copy and a pickled copy get the same calls as
    the original, and all picks are equal.  In other examples the copy gets calls alone, and the
    original still picks like a twin that was never copied.  A class that is defined inside a
    function cannot be pickled; then only deep copies are tested.

    What it cannot see: state that has no effect on a pick.
    """
    if lab.below(3):
        lab.begin()
        lab.history()
        for _ in range(lab.below(4)):
            if lab.weights:
                lab.start(lab.one_of([*lab.weights]), bound=True)
        lab.add_twin("copy", "deepcopy(lb)")
        if "<locals>" not in type(lab.program.namespace["lb"]).__qualname__:
            lab.add_twin("pickled", "loads(dumps(lb))")
        lab.history()
    else:
        lab.begin(twins=["twin"])
        lab.history()
        lab.run("copy = deepcopy(lb)")
        for backend in lab.some_of([*lab.weights]):
            weight = lab.one_of((lab.palette[-1], 0))
            lab.run("copy.put(backend, weight=weight)", backend=backend, weight=weight)
            lab.run("copy.started(backend)", backend=backend)
        if lab.below(2) and lab.weights:
            lab.run("copy.discard(backend)", backend=[*lab.weights][-1])
        arguments = lab.arguments(lab.key())
        lab.run(f"raised(lambda: copy.pick({lab.call(arguments)}))", **arguments)
        lab.history()


@law(share=0.5)
def hash_order_decides_nothing(lab: BalancerLaboratory) -> None:
    """The order of sets and the built-in ``hash`` have no effect.

    Why: the hash of a text differs in each process.  A balancer that iterates over a set, or places
    keys by ``hash``, picks differently in each worker and after each restart.

    How it is tested: four balancers get the same calls.  The names and keys of each of them are
    equal texts whose hash values differ.  All picks are equal.

    What it cannot see: names and keys that are not text.
    """
    for salt, name in enumerate(("lb", "salt1", "salt2", "salt3")):
        lab.make_balancer(name, lambda text, salt=salt: SaltedName(text, salt))  # type: ignore[misc]  # a default has no type
    lab.begin(odd_names=False)
    lab.history()


LAWS = (
    put_again_changes_nothing,
    last_put_wins,
    copies_and_pickles_go_on_alike,
    hash_order_decides_nothing,
)
