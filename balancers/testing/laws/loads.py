"""Laws for loads: values, what changes them, and what must not."""

from collections.abc import Callable

from balancers.testing._laboratory import NotTested
from balancers.testing._law import law
from balancers.testing._load_laboratory import NAMES, UNMEASURED, LoadLaboratory
from balancers.testing.gate_programs import has_pickle, stored

__all__ = ["LAWS"]

_STEPS = 12
_MORE_STEPS = 8
_MANY = 100
_FAR = 1e9
_EARLIER = (5.0, 0.5, 2.0, 9.0, 20.0, 60.0, 1000.0)
_LATER = (0.0, 0.5, 5.0, 60.0)


def _compared(lab: LoadLaboratory, twin: str, why: str) -> Callable[[], None]:
    """Return a function that compares the values of a twin, now and later."""

    def after() -> None:
        for when in (lab.now, lab.now + 5.0):
            lab.check(
                f"{{b: load.value(b, now) for b in names}} == "
                f"{{b: {twin}.value(b, now) for b in names}}",
                why,
                names=[*lab.names],
                now=when,
            )

    return after


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
    _compared(lab, "twin", "the load that was read goes on in another way")()


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
    lab.make_load("new")
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
            "isclose(load.value(backend, now), new.value(backend, now), rel_tol=1e-6, abs_tol=1e-6)",
            f"requests of {backend} that have ended count for ever",
            backend=backend,
            now=lab.now + _FAR,
        )


@law()
def removed_forgets(lab: LoadLaboratory) -> None:
    """A backend that was removed has the value of a backend that was never there.

    Why: names and addresses are used again.  A new server must not inherit the requests in flight
    or the latency of the one that had its address before.

    How it is tested: two loads get the same random history, but in the second one a backend has
    another name.  The backend is removed.  From then on, a backend with its first name must have
    the same value in both loads.

    What it cannot see: what is left over of other backends.
    """
    chosen, met = NAMES[0], False

    def view(name: str) -> str:
        return name if met or name != chosen else f"{name}-2"

    def after() -> None:
        why = f"the value of {chosen} depends on what {chosen} did before it was removed"
        for when in (lab.now, lab.now + 5.0):
            line = "load.value(backend, now) == twin.value(backend, now)"
            lab.check(line, why, backend=chosen, now=when)

    lab.begin("twin", view=view)
    for _ in lab.more(_STEPS):
        lab.step()
    lab.remove(chosen)
    met = True
    after()
    lab.after = after
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law()
def unknown_backends_are_ignored(lab: LoadLaboratory) -> None:
    """``finished`` and ``removed`` ignore a backend without requests.

    Why: requests end after their backend was removed.  Such an end must not raise an exception, and
    must not make the value of a backend lower than that of an idle one.

    How it is tested: two loads get the same random history.  The first one also gets ends with an
    unknown outcome, and removals, of a backend without any request.  No value may change, then and
    after further calls.  At last, such a request ends with any outcome.  This must not raise an
    exception.

    What it cannot see: what a load learns from a result that it cannot know to be wrong.
    """
    lab.begin("twin")
    for _ in lab.more(_STEPS):
        lab.step()
    lab.names = [*lab.names, "unknown"]
    unknown = "unknown"
    for _ in lab.more(2, 4):
        line = lab.one_of(("load.finished(backend, UNKNOWN, now)", "load.removed(backend)"))
        lab.run(line, backend=unknown, now=lab.now)
    why = f"calls for {unknown}, which has no requests, have changed a value"
    lab.after = _compared(lab, "twin", why)
    lab.after()
    for _ in lab.more(_MORE_STEPS):
        lab.step()
    if unknown not in lab.flights:
        outcome = lab.one_of(lab.outcomes)
        lab.run(f"load.finished(backend, {outcome}, now)", backend=unknown, now=lab.now)
        why = "a value must be finite, and 0 or more"
        lab.check("0 <= load.value(backend, now) < inf", why, backend=unknown, now=lab.now)


@law()
def copies_go_on_alike(lab: LoadLaboratory) -> None:
    """A deep copy of a load behaves as the load does, and calls of the one do not change the other.

    Why: ``pool.explain`` works on a copy of the balancer.  Programs copy pools to simulate, and
    pickle them to restart.

    How it is tested: after a random history, the load is copied, by ``deepcopy`` or by a pickle.
    Then both get the same calls and must have the same values; or only the copy gets calls, and the
    load must go on as a second load that was never copied.  A load that cannot be pickled is only
    copied.

    What it cannot see: copies by ``copy.copy``.
    """
    alone = lab.below(2)
    lab.begin(*(["twin"] if alone else []))
    for _ in lab.more(_STEPS):
        lab.step()
    by_pickle = lab.below(2) and has_pickle(lab.load)
    lab.run(f"copy = {'loads(dumps(load))' if by_pickle else 'deepcopy(load)'}")
    if alone:
        before = lab.values("load", lab.now)
        for backend in lab.names:
            for _ in lab.more(3):
                lab.run("copy.started(backend, now)", backend=backend, now=lab.now + 1.0)
            line = "copy.finished(backend, Outcome(ok=False, elapsed=2.0), now)"
            lab.run(line, backend=backend, now=lab.now + 2.0)
        why = "a call of the copy has changed the load"
        line = "{b: load.value(b, now) for b in names} == before"
        lab.check(line, why, names=[*lab.names], now=lab.now, before=before)
        lab.after = _compared(lab, "twin", why)
    else:
        lab.loads["copy"] = str
        lab.after = _compared(lab, "copy", "the copy has another value than the load")
        lab.after()
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law()
def time_never_goes_back(lab: LoadLaboratory) -> None:
    """A time that is earlier than the latest one counts as the latest one.

    Why: a pool never passes an earlier time, but a balancer may be used without a pool, by threads
    that read their clocks earlier.  If time goes back, an age or a decayed value grows again.

    How it is tested: two loads get the same random history, and a request of a backend starts in
    both at the same time.  The one is then called with earlier times, and the other with that time.
    The values of this backend must be the same, then and after further calls.

    What it cannot see: clocks that are kept for each backend and differ.
    """
    lab.begin("twin")
    for _ in lab.more(_STEPS):
        lab.step()
    backend = lab.one_of(lab.names)
    lab.start(backend)
    why = f"an earlier time counts, although the load has seen {lab.now}"
    lab.check(
        "[load.value(backend, earlier) for earlier in times] == [twin.value(backend, now)] * 7",
        why,
        backend=backend,
        times=[lab.now - seconds for seconds in _EARLIER],
        now=lab.now,
    )
    for _ in lab.more(2, 4):
        earlier = lab.now - lab.one_of(_EARLIER)
        flying = backend in lab.flights
        outcome = lab.one_of(lab.outcomes)
        line = f"finished(backend, {outcome}, now)" if flying else "started(backend, now)"
        lab.run(f"load.{line}", backend=backend, now=earlier)
        lab.run(f"twin.{line}", backend=backend, now=lab.now)
        if flying:
            lab.flights.remove(backend)
        else:
            lab.flights.append(backend)
        for seconds in _LATER:
            line = "load.value(backend, now) == twin.value(backend, now)"
            lab.check(line, why, backend=backend, now=lab.now + seconds)


@law()
def unknown_outcomes_change_nothing(lab: LoadLaboratory) -> None:
    """A request that ends with an unknown outcome counts neither as a success nor as a failure.

    Why: a request that the client cancels says nothing about the backend.  Its duration is no
    latency, and it is no failure.

    How it is tested: four loads get the same random history.  Three of them also get requests that
    start and end at the same time: one with an unknown outcome, the others with a success and a
    failure.  A start may matter to a load, for example if it counts a rate.  So the law is broken
    only if the unknown outcome changes a value, and the success or the failure changes none.  It is
    also broken if the duration of a request with an unknown outcome changes a value.

    What it cannot see: outcomes that are counted wrongly together with a start that matters.
    """
    lab.begin("bare", "plain", "success", "failure")
    alike = {"success", "failure"}

    def after() -> None:
        bare = lab.values("bare", lab.now)
        alike.difference_update(
            [control for control in alike if lab.values(control, lab.now) != bare]
        )
        values = {"names": [*lab.names], "now": lab.now}
        for control in (*(["bare"] if alike else []), "plain"):
            what = "the duration of a request" if control == "plain" else "a request"
            lab.check(
                f"{{b: load.value(b, now) for b in names}} == "
                f"{{b: {control}.value(b, now) for b in names}}",
                f"{what} with an unknown outcome has changed a value",
                **values,
            )

    for _ in lab.more(_STEPS):
        lab.step()
        if lab.below(3) == 0:
            elapsed = lab.one_of(("", ", elapsed=9.0"))
            outcomes = {
                "load": f"Outcome(ok=None{elapsed})",
                "plain": "UNKNOWN",
                "success": f"Outcome(ok=True{elapsed})",
                "failure": f"Outcome(ok=False{elapsed})",
            }
            lab.pair(lab.one_of(lab.names), outcomes)
            after()
            lab.after = after


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
    removed_forgets,
    unknown_backends_are_ignored,
    copies_go_on_alike,
    time_never_goes_back,
    unknown_outcomes_change_nothing,
    one_balancer_only,
)
