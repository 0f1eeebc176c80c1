"""Laws for loads: departures, late times, unknown backends and unknown outcomes."""

from balancers.testing._law import law
from balancers.testing._load_laboratory import NAMES, LoadLaboratory

__all__ = ["LAWS"]

_STEPS = 12
_MORE_STEPS = 8
_EARLIER = (5.0, 0.5, 2.0, 9.0, 20.0, 60.0, 1000.0)
_LATER = (0.0, 0.5, 5.0, 60.0)


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
    lab.after = lab.compare_with("twin", why)
    lab.after()
    for _ in lab.more(_MORE_STEPS):
        lab.step()
    if unknown not in lab.flights:
        outcome = lab.one_of(lab.outcomes)
        lab.run(f"load.finished(backend, {outcome}, now)", backend=unknown, now=lab.now)
        why = "a value must be finite, and 0 or more"
        lab.check("0 <= load.value(backend, now) < inf", why, backend=unknown, now=lab.now)


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


LAWS = (
    removed_forgets,
    unknown_backends_are_ignored,
    time_never_goes_back,
    unknown_outcomes_change_nothing,
)
