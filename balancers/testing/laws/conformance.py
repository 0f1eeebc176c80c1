"""Laws for every balancer: the members of the protocol, purity, and the cost of a pick."""

from random import Random
from typing import Any

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._choices import Choices
from balancers.testing._elsewhere import CannotRun, run_elsewhere
from balancers.testing._laboratory import NotTested
from balancers.testing._law import law
from balancers.testing._source import NoSource, definitions

__all__ = ["LAWS"]

_MEMBERS = ("keyed", "fractional", "weights", "put", "discard", "pick", "started", "finished")
_FEW, _MANY = 8, 64
_CHANGES = 100


@law(share=0.3)
def is_a_balancer(lab: BalancerLaboratory) -> None:
    """The object has all members of the protocol, and they can be called as it says.

    Why: a pool calls the methods by position, other code by keyword.  A pool reads ``keyed``,
    ``fractional`` and ``weights``.

    How it is tested: every method is called by position and by keyword.  A keyed balancer must
    raise MissingKey without a key.  A text as ``avoid`` must raise TypeError.  ``keyed`` must agree
    with the traits, and ``fractional`` needs the trait "weighted".  After a random history,
    ``weights`` has the members in order of insertion, with the weights that were put last.

    What it cannot see: types that a type checker would find.
    """
    if lab.below(4):
        lab.begin()
        lab.history()
        why = "weights must have the members in order of insertion, with their last weights"
        lab.check("list(lb.weights.items()) == items", why, items=[*lab.weights.items()])
        if lab.settings.weights is None:
            lab.put(lab.names[0], 1.5)
            lab.check("list(lb.weights.items()) == items", why, items=[*lab.weights.items()])
        return
    lab.assertions_only_read = True
    lab.make_balancer("lb")
    lab.check(
        "[name for name in members if not hasattr(lb, name)] == []",
        "members of the protocol are missing",
        members=_MEMBERS,
    )
    for name in ("keyed", "fractional"):
        lab.check(f"lb.{name} in (True, False)", f"{name} must be True or False")
    lab.check("lb.keyed == keyed", "keyed does not agree with the traits", keyed=lab.keyed)
    if "weighted" not in lab.settings.traits:
        why = "fractional is True, which needs the trait 'weighted'"
        lab.check("not lb.fractional", why)
    key = lab.key()
    why = "pick must refuse without members"
    lab.check_raises("NoBackendAvailable", "lb.pick(key)", why, key=key)
    weight = (lab.settings.weights or (2,))[-1]
    lab.run("lb.put('a')")
    why = "the default weight must be 1, and weights must contain the members"
    lab.check("dict(lb.weights) == {'a': 1}", why)
    lab.run("lb.put('a', weight)", weight=weight)
    lab.weights["a"] = weight
    why = "the only member must be picked"
    lab.check("lb.pick(key, 0.0, ()) == 'a'", why, key=key)
    lab.check("lb.pick(key=key, now=0.0, avoid=[]) == 'a'", why, key=key)
    why = "pick must raise TypeError if avoid is one text, because 'in' finds parts of a text"
    lab.check_raises("TypeError", "lb.pick(key, avoid='a')", why, key=key)
    for line in (
        "lb.started('a')",
        "lb.started('a', 0.0, True)",
        "lb.started(backend='a', now=0.0, bound=False)",
        "lb.finished('a')",
        "lb.finished('a', FAILURE, 0.0)",
        "lb.finished(backend='a', outcome=SUCCESS, now=0.0)",
        "lb.finished('not a member', outcome=SUCCESS)",
        "lb.discard('not a member')",
    ):
        lab.run(line)
    if lab.keyed:
        lab.check_raises("MissingKey", "lb.pick()", "a keyed balancer must raise MissingKey")


@law(share=0.1)
def touches_no_clock_and_no_global_random(lab: BalancerLaboratory) -> None:
    """Time and random numbers come from the caller only.

    Why: a balancer that reads a clock or the generator of the ``random`` module cannot be tested,
    simulated or replayed, and it changes what other parts of the program draw.

    How it is tested: every call of a random history runs while all functions that it calls are
    recorded (``sys.setprofile``), however they were imported.  The state of the generator of
    ``numpy.random`` is compared.

    What it cannot see: clocks that an extension module reads by itself.
    """
    lab.begin(least=1)
    why = "the call uses a clock or a global generator: "

    def pure(line: str, **values: object) -> None:
        used = lab.let("used", f"impure_calls(lambda: {line})", **values)
        lab.check("used == []", why + ", ".join(used))

    for _ in lab.more(8):
        lab.history(2)
        backend = lab.one_of(lab.names)
        pure("lb.put(backend, weight=weight)", backend=backend, weight=lab.one_of(lab.palette))
        lab.weights[backend] = lab.run("lb.weights[backend]", backend=backend)
        pure("lb.pick(**arguments)", arguments=lab.arguments(lab.key()))
        pure("lb.started(backend)", backend=backend)
        pure("lb.finished(backend, outcome=SUCCESS)", backend=backend)
    last = [*lab.weights][-1]
    pure("lb.discard(backend)", backend=last)


@law(once=True)
def same_seed_same_picks_in_another_process(lab: BalancerLaboratory) -> None:
    """Another process makes the same picks.

    Why: two proxies that share a configuration must send a key to the same backend, and a recorded
    incident must be the same when it is replayed.  The built-in ``hash`` of a text differs between
    processes.

    How it is tested: the same program runs in a new process, with another hash seed.

    What it cannot see: differences between machines and versions of Python.
    """
    try:
        preamble = definitions(lab.settings)
    except NoSource as error:
        raise NotTested(f"another process cannot make the balancer: {error}") from None
    inner = BalancerLaboratory(lab.settings, Choices(rng=Random(7)), recording=True)
    inner.program.lines = lab.program.lines  # a line that raises is part of the program
    inner.begin(least=min(4, lab.settings.max_members), most=12, odd_names=False)
    inner.history(40)
    inner.add_members(6)
    if inner.keyed:
        inner.let_keys(60)
        inner.run("picks = [lb.pick(key=key) for key in keys]")
    else:
        inner.run("picks = [lb.pick() for _ in range(60)]")
    here = inner.program.namespace["picks"]
    program = inner.program.text(preamble)
    try:
        there = run_elsewhere(program, "picks")
    except CannotRun as error:
        raise NotTested(f"the program does not run in another process: {error}") from None
    lab.program.namespace["picks"] = here
    lab.check("picks == elsewhere", "another process makes other picks", elsewhere=there)


@law(share=0.01)
def cost_of_a_pick(lab: BalancerLaboratory) -> None:
    """A pick costs no more than the square of the number of members, and does not grow with time.

    Why: a pick that becomes slower with each request, or that compares all pairs of members several
    times, is noticed in production only.

    How it is tested: the lines of Python of 30 picks are counted with 8 and with 64 members (or the
    highest allowed number), after 100 and 2000 requests, and after backends have joined and left.
    Hash values and comparisons of names are counted too.  The limits leave room for a factor of
    four, for example for sorting.

    What it cannot see: work in C.  Time is not measured.
    """
    key = lab.key()
    given = "" if key is None else "key=key"
    values = {} if key is None else {"key": key}
    picks = f"executed_lines(lambda: [lb.pick({given}) for _ in range(30)], 10_000_000)"
    few = lab.add_members(_FEW)
    small = max(600, lab.let("few", picks, **values))
    many = lab.add_members(_MANY)
    growth = 4 * (len(many) / len(few)) ** 2
    why = f"30 picks with {len(many)} members cost over {growth:g} times those with {len(few)}"
    lab.check(f"{picks} <= limit", why, limit=int(small * growth) + 2000, **values)
    requests = f"quiet_requests(lb, count{', ' * bool(given)}{given})"
    lab.run(requests, count=100, **values)
    before = lab.let("before", picks, **values)
    lab.run(requests, count=2000, **values)
    why = "a pick costs more after many requests"
    lab.check(f"{picks} <= limit", why, limit=4 * before + 4000, **values)
    if lab.settings.max_members > 1:
        _check_the_cost_after_changes(lab, picks, values)
    lab.make("counted")
    loop = "for backend in members:\n    counted.put(CountingName(backend), weight=1)"
    lab.run(loop, members=many)
    lab.run("CountingName.calls = 0")
    lab.run(f"for _ in range(10):\n    counted.pick({given})", **values)
    limit = 400 * len(many) ** 2
    why = f"10 picks hash and compare names more than {limit} times"
    lab.check("CountingName.calls <= limit", why, limit=limit)


def _check_the_cost_after_changes(
    lab: BalancerLaboratory, picks: str, values: dict[str, Any]
) -> None:
    """Check that backends which have left cost nothing."""
    picks = picks.replace("lb.pick", "changed.pick")
    lab.make("changed")
    lab.run("changed.put('a', weight=1)")
    before = lab.let("before", picks, **values)
    lab.run(
        "for number in range(count):\n"
        "    changed.put(f'new-{number}', weight=1)\n"
        "    changed.discard(f'new-{number}')",
        count=_CHANGES,
    )
    why = f"a pick costs more after {_CHANGES} backends have joined and left"
    lab.check(f"{picks} <= limit", why, limit=4 * before + 2000, **values)


LAWS = (
    is_a_balancer,
    touches_no_clock_and_no_global_random,
    same_seed_same_picks_in_another_process,
    cost_of_a_pick,
)
