"""Laws for gates: what changes their state, and what must not."""

from balancers.testing._gate_laboratory import NAMES, GateLaboratory
from balancers.testing._law import law
from balancers.testing.gate_programs import has_pickle

__all__ = ["LAWS"]

_STEPS = 12
_MORE_STEPS = 8
_MANY = 400


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
    lab.after = lab.compare_with("twin", "the gate that was read goes on in another way")
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
        lab.after = lab.compare_with("twin", why)
    else:
        lab.gates["copy"] = str
        why = "the copy has another factor than the gate"
        if lab.members:
            lab.observe("copy")
            lab.check_twin("copy", why)
        compare = lab.compare_with("copy", why)

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
    """Let requests of the copy fail, make own calls of the copy, and let time pass for it."""
    calls = {
        "started": "copy.started(backend, copy_requests.start(backend), now)",
        "finished": "copy.finished(backend, FAILURE, copy_requests.finish(backend), now, now)",
    }
    for backend in lab.members:
        for _ in lab.more(3):
            values = {"backend": backend, "now": lab.now}
            lab.run("copy_changed = list(copy.changes(now))", now=lab.now)
            if not lab.run("copy.factor(backend, now) > 0", **values):
                break
            for method, line in calls.items():
                if getattr(lab.gate, method, None) is not None:
                    lab.run(line, **values)
    events = lab.settings.events
    if events is not None and lab.members:
        for _ in lab.more(2):
            line = events.line(lab.one_of([*events.lines]), "copy")
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


LAWS = (
    reading_changes_nothing,
    copies_go_on_alike,
    removed_forgets,
    removed_backends_take_no_memory,
)
