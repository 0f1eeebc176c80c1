"""Laws for gates: reports of late times, unknown backends and unknown outcomes."""

from balancers.testing._gate_laboratory import GateLaboratory
from balancers.testing._law import law
from balancers.testing.gate_programs import stored

__all__ = ["LAWS"]

_STEPS = 12
_MORE_STEPS = 8
_EARLIER = (5.0, 0.5, 2.0, 9.0, 20.0, 60.0, 1000.0)


@law()
def time_never_goes_back(lab: GateLaboratory) -> None:
    """A time that is earlier than the latest one counts as the latest one.

    Why: a pool never passes an earlier time.  But the gate's own calls come from other threads and
    timers, whose times were read earlier.  If time goes back, a pause that was over begins again,
    and a new pause ends too early.

    How it is tested: two gates get the same random history, and both then learn the same time for
    a backend: ``changes`` is called, and a request starts and ends.  The one is then called with
    earlier times, and the other with that time.  All factors and ``due`` must be the same, then and
    after further calls.

    What it cannot see: clocks that are kept for each backend and differ.  Calls in ``events`` that
    compute other times from the time, and calls that are no ``lambda``, are not made here.
    """
    lab.begin("twin", least=1)
    for _ in lab.more(_STEPS):
        lab.step()
    if not lab.members:
        lab.add(lab.names[0])
    lab.provoke()
    lab.settle()
    startable = lab.startable()
    backend = lab.one_of(startable or lab.members)
    if startable:
        lab.start(backend)
        lab.finish(len(lab.flights) - 1, "UNKNOWN")
        lab.settle()
    why = f"an earlier time counts, although the gate has seen {lab.now}"
    values = {"backend": backend, "now": lab.now}
    lab.check(
        "[gate.factor(backend, earlier) for earlier in times] == [twin.factor(backend, now)] * 7",
        why,
        times=[lab.now - seconds for seconds in _EARLIER],
        **values,
    )
    earlier = lab.now - lab.one_of(_EARLIER)
    times = {"gate": earlier, "twin": lab.now}
    _call_at(lab, backend, times)
    for seconds in (0.0, 0.5, 5.0):
        lab.check_twin("twin", why, lab.now + seconds)
    lab.check("gate.due == twin.due", why)
    lab.after = lab.compare_with("twin", why)
    for _ in lab.more(_MORE_STEPS):
        lab.step()


def _call_at(lab: GateLaboratory, backend: str, times: dict[str, float]) -> None:
    """Make some drawn calls for a backend, with another time for each gate."""
    events = lab.settings.events
    kinds = [
        *(["finished"] if getattr(lab.gate, "finished", None) is not None else []),
        *(["event"] if events is not None and events.timed else []),
        "changes",
        *(["started"] if getattr(lab.gate, "started", None) is not None else []),
    ]
    kind = lab.one_of(kinds)
    for _ in lab.more(3, 6):
        outcome = lab.one_of(lab.outcomes)
        name = lab.one_of(events.timed) if kind == "event" and events is not None else ""
        if kind in {"started", "finished"}:
            if backend not in lab.startable():
                return
            if kind == "finished":
                lab.start(backend)
                lab.flights.pop()
        for gate, now in times.items():
            line = {
                "finished": f"{gate}.finished(backend, {outcome}, "
                f"{gate}_requests.finish(backend), started_at, now)",
                "started": f"{gate}.started(backend, {gate}_requests.start(backend), now)",
                "changes": f"{gate}_changed = list({gate}.changes(now))",
                "event": events.line(name, gate) if events is not None and name else "",
            }[kind]
            values = {"backend": backend, "started_at": lab.now, "now": now}
            lab.run(line, **values)
        if kind == "started":
            lab.flights.append((backend, lab.now))
        lab.observe("past")


@law()
def unknown_backends_are_ignored(lab: GateLaboratory) -> None:
    """``started``, ``finished``, ``recovered`` and ``removed`` ignore backends that are no members.

    Why: requests end after their backend has left.  A pool does not report them, but other callers
    do.  An exception there would lose the report for the other gates.

    How it is tested: two gates get the same random history.  The first one also gets calls for
    backends that never joined or have left.  None may raise an exception, and all factors must be
    the same in both gates, then and after further calls.  The gate must not store their names.

    What it cannot see: calls of ``factor`` and of the gate's own methods, which may raise an error.
    """
    lab.begin("twin", after=None)
    for _ in lab.more(_STEPS):
        lab.step()
    lab.settle()
    unknown = ["unknown backend", *(name for name in lab.names if name not in lab.members)]
    calls = {
        "finished": "gate.finished(backend, {}, 0, now, now)",
        "started": "gate.started(backend, 1, now)",
        "removed": "gate.removed(backend, now)",
        "recovered": "gate.recovered(backend, now)",
    }
    able = [line for name, line in calls.items() if getattr(lab.gate, name, None) is not None]
    backend = lab.one_of(unknown)
    for _ in lab.more(3, 6):
        line = lab.one_of(able).format(lab.one_of(lab.outcomes))
        lab.run(line, backend=backend, now=lab.now)
    lab.observe("unknown")
    if backend == unknown[0] and backend in str(stored(lab.gate)):
        why = f"the gate stores the name {backend}, which is no member"
        lab.check("backend not in str(stored(gate))", why, backend=backend)
    why = f"calls for {backend}, which is no member, have changed a factor"
    compare = lab.compare_with("twin", why)
    compare("unknown")
    lab.after = compare
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law()
def unknown_outcomes_change_nothing(lab: GateLaboratory) -> None:
    """A request that ends with an unknown outcome counts neither as a success nor as a failure.

    Why: a request that the client cancels says nothing about the backend.  If it counts as a
    failure, impatient clients close healthy backends.  If it counts as a success, it hides the
    failures.

    How it is tested: two gates get the same random history.  The first one also gets requests that
    start and end at the same time, with an unknown outcome.  All factors must be the same in both
    gates.  Starts may matter to a gate, for example to one that limits the rate of requests.  So if
    the gate defines ``started``, the law is broken only if the same requests would have changed no
    factor as successes, or as failures.

    What it cannot see: outcomes that are counted wrongly together with a start that matters.
    """
    controls = ["bare", *(["success", "failure"] if lab.counts_starts() else [])]
    lab.begin(*controls)
    alike = set(controls[1:])
    """The gates in which the additional requests have changed no factor yet."""
    over = False

    def after(_method: str) -> None:
        nonlocal over
        if lab.members and not over:
            bare = lab.factors(lab.now, "bare")
            alike.difference_update(
                [control for control in alike if lab.factors(lab.now, control) != bare]
            )
            over = lab.seen != bare
            if over and (alike or len(controls) == 1):
                lab.check_twin("bare", "requests with an unknown outcome have changed a factor")

    lab.after = after
    if lab.below(2):
        lab.provoke()
    for _ in lab.more(_STEPS + _MORE_STEPS):
        if over:
            return
        lab.step()
        if lab.members and lab.below(3) == 0:
            _add_requests(lab, controls)


def _add_requests(lab: GateLaboratory, controls: list[str]) -> None:
    """Add requests to all gates except ``bare``.  Each one ends at once."""
    lab.settle()
    startable = lab.startable()
    if not startable or getattr(lab.gate, "finished", None) is None:
        return
    backend = lab.one_of(startable)
    unknown = lab.one_of(("UNKNOWN", "Outcome(ok=None, elapsed=9.0)"))
    outcomes = {"gate": unknown, "success": "SUCCESS", "failure": "FAILURE"}
    for gate in ("gate", *controls[1:]):
        if len(controls) > 1:
            line = f"{gate}.started(backend, {gate}_requests.start(backend), now)"
            lab.run(line, backend=backend, now=lab.now)
            line = f"{gate}.finished(backend, {{}}, {gate}_requests.finish(backend), now, now)"
        else:
            line = f"{gate}.finished(backend, {{}}, {gate}_requests(backend), now, now)"
        lab.run(line.format(outcomes[gate]), backend=backend, now=lab.now)
    lab.observe("added requests")


LAWS = (
    time_never_goes_back,
    unknown_backends_are_ignored,
    unknown_outcomes_change_nothing,
)
