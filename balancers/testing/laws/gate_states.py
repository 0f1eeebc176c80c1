"""Laws for gates: what changes their state, and what must not."""

from collections.abc import Callable
from math import isfinite

from balancers.testing._gate_laboratory import NAMES, GateLaboratory
from balancers.testing._law import law
from balancers.testing.gate_programs import has_pickle, stored

__all__ = ["LAWS"]

_STEPS = 12
_MORE_STEPS = 8
_MANY = 400
_EARLIER = (5.0, 0.5, 2.0, 9.0, 20.0, 60.0, 1000.0)


def _compared(lab: GateLaboratory, twin: str, why: str) -> Callable[[str], None]:
    """Return a function that compares the factors of a twin after each call."""

    def after(method: str) -> None:
        if lab.members and method != "tick":
            lab.check_twin(twin, why)

    return after


@law()
def reading_changes_nothing(lab: GateLaboratory) -> None:
    """``factor``, ``unproven``, ``due`` and ``repr`` change no state.

    Why: a pool reads factors at other times than now, for example to explain a refusal.  If a
    reading moves the clock of the gate or ends a pause, the next request is decided differently.

    How it is tested: after a random history, the factors are read once.  Then everything that the
    gate stores is compared before and after further readings, at now and at later times: by its
    pickle, or attribute by attribute if it has none.  A second gate with the same calls is not
    read, and must have the same factors after further calls.

    What it cannot see: state outside the gate.
    """
    lab.begin("twin")
    for _ in lab.more(_STEPS):
        lab.step()
    before = lab.let("before", "stored(gate)")
    for when in (lab.now + 1.0, lab.now + 1e6, lab.now):
        lab.factors(when)
    lab.run("repr(gate), gate.due, gate.reason")
    if before != lab.run("stored(gate)"):
        lab.check("stored(gate) == before", "reading has changed what the gate stores")
    lab.after = _compared(lab, "twin", "the gate that was read goes on in another way")
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law()
def copies_go_on_alike(lab: GateLaboratory) -> None:
    """A deep copy of a gate behaves as the gate does, and calls of the one do not change the other.

    Why: ``pool.explain`` works on a copy when a gate is due.  Programs copy pools to simulate, and
    pickle them to restart.

    How it is tested: after a random history, the gate is copied together with the function
    ``in_flight``, by ``deepcopy`` or by a pickle.  Then both get the same calls and must have the
    same factors, changes and ``due``; or only the copy gets calls, and the gate must go on as a
    second gate that was never copied.  A gate that cannot be pickled is only copied.

    What it cannot see: copies by ``copy.copy``.
    """
    alone = lab.below(2)
    if alone:
        lab.begin("twin")
    else:
        lab.begin()
    for _ in lab.more(_STEPS):
        lab.step()
    copied = "deepcopy(({0}, {0}_requests))".format("gate")
    if lab.below(2) and has_pickle(lab.gate):
        copied = "loads(dumps((gate, gate_requests)))"
    lab.run(f"copy, copy_requests = {copied}")
    if alone:
        _drive_alone(lab)
        why = "a call of the copy has changed the gate"
        lab.check_twin("gate", why)
        lab.after = _compared(lab, "twin", why)
    else:
        lab.gates["copy"] = str
        why = "the copy has another factor than the gate"
        if lab.members:
            lab.observe("copy")
            lab.check_twin("copy", why)
        compare = _compared(lab, "copy", why)

        def after(method: str) -> None:
            compare(method)
            lab.check("copy.due == gate.due", "the copy has another due than the gate")
            if method == "changes":
                why = "the copy reports other changes than the gate"
                lab.check("set(copy_changed) == set(gate_changed)", why)

        lab.after = after
    for _ in lab.more(_MORE_STEPS):
        lab.step()


def _drive_alone(lab: GateLaboratory) -> None:
    """Let requests of the copy fail."""
    for backend in lab.members:
        for _ in lab.more(3):
            lab.run("copy.started(backend, 1, now)", backend=backend, now=lab.now)
            line = "copy.finished(backend, FAILURE, 0, now, now)"
            lab.run(line, backend=backend, now=lab.now)
    if lab.settings.events and lab.members:
        for _ in lab.more(2):
            name = lab.one_of([*lab.settings.events.lines])
            line = lab.settings.events.line(name, "copy")
            lab.run(line, backend=lab.one_of(lab.members), now=lab.now)
    lab.run("copy_changed = list(copy.changes(now))", now=lab.now + 100.0)


@law()
def removed_forgets(lab: GateLaboratory) -> None:
    """A backend that left and joins again is treated as a backend that was never there.

    Why: names and addresses are used again.  A new server must not be closed because of the
    failures of the one that had its address before.

    How it is tested: two gates get the same random history, but in the second one a backend has
    another name.  The backend leaves, and a backend with its first name joins both gates.  From
    then on its factor must be the same in both gates.  State about the whole pool does not matter,
    because both gates have it.

    What it cannot see: what is left over of other backends.
    """
    chosen, met = lab.one_of(NAMES[:2]), False

    def view(name: str) -> str:
        return name if met or name != chosen else f"{name}-2"

    def after(method: str) -> None:
        if chosen in lab.members and method != "tick":
            why = f"the factor of {chosen} depends on what {chosen} did before it left"
            values = {"backend": chosen, "now": lab.now}
            lab.check("gate.factor(backend, now) == twin.factor(backend, now)", why, **values)

    lab.begin("twin", least=1 + NAMES.index(chosen), view=view)
    for _ in lab.more(_STEPS):
        lab.step()
    lab.provoke()
    if chosen in lab.members:
        lab.remove(chosen)
    lab.after, met = after, True
    lab.add(chosen)
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law(once=True)
def removed_backends_take_no_memory(lab: GateLaboratory) -> None:
    """After backends have left, the gate does not store their names any more.

    Why: in a cluster, every restart of a server makes a new name.  A gate that keeps something for
    each of them uses more memory every day.

    How it is tested: 400 backends join, fail and leave, and time passes.  If the gate stores more
    than 80 % of their names, the law is broken.

    What it cannot see: what is stored without the name, or for few backends only.
    """
    lab.begin(least=2)
    gate = lab.gate
    calls = ["gate.added(backend, now)", "gate_changed = list(gate.changes(now))"]
    request = ["if gate.factor(backend, now) > 0:"]
    request += ["    gate.started(backend, gate_requests.start(backend), now)"] * (
        getattr(gate, "started", None) is not None
    )
    request += ["    gate.finished(backend, FAILURE, gate_requests.finish(backend), now, now)"] * (
        getattr(gate, "finished", None) is not None
    )
    if len(request) > 1:
        calls += ["for _ in range(6):", *(f"    {line}" for line in request)]
    if lab.settings.events is not None:
        calls += [lab.settings.events.line(name, "gate") for name in lab.settings.events.lines]
    calls += ["gate_requests.forget(backend)", "gate.removed(backend, now)"]
    loop = [f"    {line}" for line in ("backend = f'<{now}>'", *calls)]
    lab.run("\n".join([f"for now in range({_MANY}):", *loop]))
    lab.run("for now in (1e4, 1e5, 1e6):\n    gate_changed = list(gate.changes(now))")
    lab.check(
        f"sum(f'<{{now}}>' in str(stored(gate)) for now in range({_MANY})) <= {_MANY * 4 // 5}",
        "the gate stores the names of most backends that have left",
    )


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
    lab.after = _compared(lab, "twin", why)
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
        name = lab.one_of(events.timed) if kind == "event" else ""
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
                "event": events.line(name, gate) if name else "",
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
    compare = _compared(lab, "twin", why)
    compare("unknown")
    lab.after = compare
    for _ in lab.more(_MORE_STEPS):
        lab.step()


@law()
def unknown_outcomes_change_nothing(lab: GateLaboratory) -> None:
    """A request that ends with an unknown outcome counts neither as a success nor as a failure.

    Why: a request that the client cancels says nothing about the backend.  If it counts as a
    failure, impatient clients close healthy backends.  If it counts as a success, it hides failures.

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

    def after(method: str) -> None:
        nonlocal over
        if not lab.members or over:
            return
        bare = lab.factors(lab.now, "bare")
        for control in [*alike]:
            if lab.factors(lab.now, control) != bare:
                alike.discard(control)
        if lab.seen != bare:
            if len(controls) == 1 or alike:
                lab.check_twin("bare", "requests with an unknown outcome have changed a factor")
            over = True

    lab.after = after
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
    if not startable:
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
    reading_changes_nothing,
    copies_go_on_alike,
    removed_forgets,
    removed_backends_take_no_memory,
    time_never_goes_back,
    unknown_backends_are_ignored,
    unknown_outcomes_change_nothing,
)
