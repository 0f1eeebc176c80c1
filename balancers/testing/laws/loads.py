"""Laws for loads: values, what changes them, and what must not."""

from balancers.testing._histories import UNMEASURED
from balancers.testing._laboratory import NotTested
from balancers.testing._law import law
from balancers.testing._load_laboratory import LoadLaboratory
from balancers.testing.gate_programs import has_pickle

__all__ = ["LAWS"]

_STEPS = 12
_MORE_STEPS = 8
_MANY = 100
_FAR = 1e9


@law()
def values_are_finite_and_not_negative(lab: LoadLaboratory) -> None:
    """A value is a finite number that is 0 or more.

    Why: balancers divide values by weights and compare the results.  NaN makes every comparison
    false, and a backend with a negative value gets all requests.

    How it is tested: the values of all backends are read after each call of a random history, at
    that time and at later times.  The history contains ends of requests that did not start.

    What it cannot see: whether the value is a good measure.
    """

    def after() -> None:
        for backend in lab.names:
            for when in (lab.now, lab.now + 1.0, lab.now + 1e6):
                values = {"backend": backend, "now": when}
                lab.check("isinstance(load.value(backend, now), Real)", number, **values)
                lab.check("0 <= load.value(backend, now) < inf", range_, **values)

    number = "a value must be an int, a float or a Fraction"
    range_ = "a value must be finite, and 0 or more"
    lab.begin()
    after()
    lab.after = after
    for _ in lab.more(_MORE_STEPS):
        lab.step()
        if lab.below(4) == 1:
            idle = [backend for backend in lab.names if backend not in lab.flights]
            if idle:
                line = f"LOAD.finished(backend, {lab.one_of(lab.outcomes)}, now)"
                lab.each(line, lab.one_of(idle))


@law()
def reading_changes_nothing(lab: LoadLaboratory) -> None:
    """``value`` and ``repr`` change no state.

    Why: a balancer reads the values of backends that it does not pick, and a monitor reads all of
    them.  The next pick must not depend on this.

    How it is tested: after a random history, everything that the load stores is compared before and
    after readings, at now and at later times: by its pickle, or attribute by attribute if it has
    none.  A second load with the same calls is not read, and must have the same values after
    further calls.

    What it cannot see: state outside the load.
    """
    lab.begin("twin")
    for _ in lab.more(_STEPS):
        lab.step()
    before = lab.let("before", "stored(load)")
    for when in (lab.now + 1.0, lab.now + 1e6, lab.now):
        lab.values("load", when)
    lab.run("repr(load)")
    if before != lab.run("stored(load)"):
        lab.check("stored(load) == before", "reading has changed what the load stores")
    for _ in lab.more(_MORE_STEPS):
        lab.step()
    lab.compare_with("twin", "the load that was read goes on in another way")()


@law(share=0.5)
def started_and_finished_cancel(lab: LoadLaboratory) -> None:
    """When all requests of a backend have ended, they do not count for ever.

    Why: if one kind of end is not counted, the value of a backend grows with every such request,
    until the backend gets no requests any more.

    How it is tested: a load gets a random history, in which all requests end.  Then this load and a
    new one get the same 100 successful requests, and the same requests in flight, among which the
    first one gets some that end at once.  After 10⁹ seconds, the values of both must be equal.  So
    a load may remember failures until successes follow, and everything else for a long time.
    Measured durations are not reported.

    What it cannot see: counts that successes or the time correct.
    """
    lab.begin(actions=("start", "finish", "request", "tick"), outcomes=UNMEASURED)
    for _ in lab.more(_STEPS):
        lab.step()
    while lab.flights:
        lab.finish(0, lab.one_of(lab.outcomes))
    lab.make("new")
    lab.loads["new"] = str
    started = lab.below(3)
    for backend in lab.names:
        lab.each(
            f"for _ in range({_MANY}):\n"
            "    LOAD.started(backend, now)\n"
            "    LOAD.finished(backend, SUCCESS, now)",
            backend,
        )
        for _ in range(started):
            lab.start(backend)
            if lab.below(2):
                lab.pair(backend, {"load": "SUCCESS"})
    for backend in lab.names:
        lab.check(
            "isclose(load.value(backend, now), new.value(backend, now), abs_tol=1e-6)",
            f"requests of {backend} that have ended count for ever",
            backend=backend,
            now=lab.now + _FAR,
        )


@law()
def copies_go_on_alike(lab: LoadLaboratory) -> None:
    """A deep copy of a load behaves as the load does, and calls of the one do not change the other.

    Why: ``pool.explain`` works on a copy of the balancer.  Programs copy pools to simulate, and
    pickle them to restart.

    How it is tested: after a random history, the load is copied, by ``deepcopy`` or by a pickle.
    Then both get the same calls and must have the same values; or only the copy gets calls, and the
    load must go on as a second load that was never copied.  Instead of the copy, a new load may get
    the calls.  A load that cannot be pickled is only copied.

    What it cannot see: copies by ``copy.copy``.
    """
    alone = lab.below(2)
    lab.begin(*(["twin"] if alone else []))
    for _ in lab.more(_STEPS):
        lab.step()
    by_pickle = lab.below(2) and has_pickle(lab.load)
    new = alone and lab.below(3) == 2
    if new:
        lab.make("copy")
    else:
        lab.run(f"copy = {'loads(dumps(load))' if by_pickle else 'deepcopy(load)'}")
    if alone:
        before = lab.values("load", lab.now)
        for backend in lab.names:
            for _ in lab.more(3):
                lab.run("copy.started(backend, now)", backend=backend, now=lab.now + 1.0)
            line = "copy.finished(backend, Outcome(ok=False, elapsed=2.0), now)"
            lab.run(line, backend=backend, now=lab.now + 2.0)
        why = f"a call of {'a new load' if new else 'the copy'} has changed the load"
        line = "{b: load.value(b, now) for b in names} == before"
        lab.check(line, why, names=[*lab.names], now=lab.now, before=before)
        lab.after = lab.compare_with("twin", why)
    else:
        lab.loads["copy"] = str
        lab.after = lab.compare_with("copy", "the copy has another value than the load")
        lab.after()
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law(once=True)
def one_balancer_only(lab: LoadLaboratory) -> None:
    """A load that belongs to a balancer is refused by a second one, and a copy of it is not.

    Why: a load counts the requests of its balancer.  In two balancers, it mixes them up.

    How it is tested: two balancers are created with the same load.  The second one must raise
    AlreadyInUse.  A balancer with a deep copy of the load must not.  A load without the attribute
    ``taken`` to which none can be added is not tested, because a balancer cannot mark it.

    What it cannot see: two balancers that get the load by other means.
    """
    lab.make("load")
    load = lab.load
    if getattr(load, "taken", False) is not False:
        raise NotTested("the load has an attribute taken with another meaning")
    try:
        load.taken = False
    except AttributeError:
        raise NotTested("the load does not allow new attributes") from None
    lab.run("lb = PowerOfTwoChoices(['a', 'b'], rng=Random(1), load=load)")
    lab.run("lb.started(lb.pick())")
    lab.check_raises(
        "AlreadyInUse",
        "PowerOfTwoChoices(['c'], rng=Random(1), load=load)",
        "a second balancer must raise AlreadyInUse for the same load",
    )
    lab.run("other = PowerOfTwoChoices(['c'], rng=Random(1), load=deepcopy(load))")


LAWS = (
    values_are_finite_and_not_negative,
    reading_changes_nothing,
    started_and_finished_cancel,
    copies_go_on_alike,
    one_balancer_only,
)
