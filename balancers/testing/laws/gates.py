"""Laws for gates: factors, and how a gate announces that they change."""

from math import inf, nextafter
from typing import Any

from balancers.testing._gate_laboratory import GateLaboratory
from balancers.testing._law import law

__all__ = ["LAWS"]

_STEPS = 20
_LATE = 1e6
_MOST_EMPTY = 5000


@law()
def factors_are_factors(lab: GateLaboratory) -> None:
    """A factor is a number from 0 to 1, and it is 0 or 1 unless the gate is ``fractional``.

    Why: the pool multiplies weights by factors.  A factor above 1 or below 0, or NaN, is no share
    of the traffic.  A balancer that does not honour fractions gets wrong weights from a gate that
    has undeclared fractions.

    How it is tested: the factors of all members are read after each call of a random history, at
    that time and at later times.

    What it cannot see: whether the factor is a good one.
    """
    fractional = False

    def after(_method: str) -> None:
        for when in (lab.now, lab.now + 1.0, lab.now + _LATE):
            for backend in lab.members:
                lab.check("0 <= gate.factor(backend, now) <= 1", why, backend=backend, now=when)
                if not fractional:
                    lab.check(
                        "gate.factor(backend, now) in {0, 1}",
                        "the gate is not fractional, but returned a fraction",
                        backend=backend,
                        now=when,
                    )

    why = "a factor must be a number from 0 to 1"
    lab.begin()
    fractional = lab.gate.fractional
    after("begin")
    lab.after = after
    for _ in lab.more(_STEPS // 2):
        lab.step()


@law()
def factors_move_only_as_announced(lab: GateLaboratory) -> None:
    """A factor changes only at the time ``due``, or by a call that sets ``due`` to minus infinity.

    Why: the pool does not read the factors at each request.  It reads them when ``due`` has come,
    so it never notices a change that is not announced.

    How it is tested: the factors are read after each call and each step of time of a random
    history.  Time also goes to exactly ``due``, and to the last float before it.  While ``due`` is
    later than the current time, every factor must be what it was after the last call of
    ``changes``, now and at the last float before ``due``.  If a call changes a factor, ``due`` must
    be minus infinity, because the clock of the pool may be behind that of the caller.

    What it cannot see: changes more than 10⁶ seconds ahead, and changes that only longer histories
    cause.
    """
    reported: dict[str, Any] = {}
    settled = False

    def after(method: str) -> None:
        nonlocal reported, settled
        is_read = method == "changes"
        reported = {b: new if is_read else reported.get(b, new) for b, new in lab.seen.items()}
        was_settled, settled = settled, lab.due > lab.now
        for backend, factor in lab.seen.items():
            if factor != reported[backend]:
                if was_settled and method != "tick":
                    why = f"the factor of {backend} changed by a call, so due must be -inf"
                    lab.check("gate.due == -inf", why)
                why = f"the factor of {backend} was {reported[backend]}, and due has not come"
                lab.check("gate.due <= now", why, now=lab.now)
        if settled and lab.members:
            last = nextafter(min(lab.due, lab.now + _LATE), -inf)
            lab.check(
                f"{lab.reading('gate')} == seen",
                "a factor changes before due",
                members=lab.members,
                now=max(last, lab.now),
                seen=lab.seen,
            )

    lab.begin(after=after)
    for _ in lab.more(_STEPS):
        lab.step()


@law()
def changes_names_every_change(lab: GateLaboratory) -> None:
    """``changes`` returns each backend whose factor changed since the last call.

    Why: the pool reads only the factors of the backends that ``changes`` returns.  They include a
    backend whose factor changed and changed back, and one whose value of ``unproven`` changed.  A
    soft gate that is not fractional must not return other backends: if it returns an open backend,
    the pool concludes that the backend was closed for a moment and has recovered, and a slow start
    begins.

    How it is tested: the factors are read after each call and each step of time of a random
    history, and compared with the result of ``changes``.  A superfluous backend counts only if its
    factor cannot have changed without being seen, so not if time went beyond ``due``, or if a
    function in ``events`` called the gate several times.

    What it cannot see: changes that are undone before the law reads the factors.
    """
    moved: set[str] = set()
    was_due = inf
    overran = False

    def after(method: str) -> None:
        nonlocal moved, was_due, overran
        now_moved = {b for b, new in lab.seen.items() if lab.before.get(b, new) != new}
        moved = now_moved | {backend for backend in moved if backend in lab.seen}
        overran = overran or method == "events" or (method == "tick" and lab.now > was_due)
        if method == "changes":
            _check_named(lab, moved, exact and not overran)
            moved.clear()
            overran = False
        was_due = lab.due

    lab.begin()
    exact = lab.gate.soft and not lab.gate.fractional
    lab.settle()
    was_due = lab.due
    lab.after = after
    for _ in lab.more(_STEPS):
        lab.step()
    lab.settle()


def _check_named(lab: GateLaboratory, moved: set[str], exact: bool) -> None:
    for backend in lab.members:
        if backend in moved:
            why = f"the factor of {backend} changed since the last call of changes"
            lab.check("backend in gate_changed", why, backend=backend)
        elif exact and lab.is_open(backend):
            why = f"the factor of {backend} has not changed since the last call of changes"
            lab.check("backend not in gate_changed", why, backend=backend)


@law()
def changes_settle(lab: GateLaboratory) -> None:
    """After a call of ``changes``, ``due`` is later than now, and a second call changes nothing.

    Why: while ``due`` has come, the pool calls ``changes`` at every request.  A caller that waits
    until ``due`` never waits.

    How it is tested: ``changes`` is called at random places of a random history, twice each time.
    ``due`` and the factors are compared.

    What it cannot see: what happens at other times.
    """

    def after(method: str) -> None:
        if method == "changes":
            lab.check("gate.due > now", "due must be later than now after changes", now=lab.now)
            if lab.below(2):
                lab.run("gate_changed = list(gate.changes(now))", now=lab.now)
                lab.check("gate.due > now", "due must be later than now after changes", now=lab.now)
                lab.check_twin("gate", "a second call of changes must not change a factor")

    lab.begin(after=after)
    for _ in lab.more(_STEPS):
        lab.step()
    lab.settle()


@law()
def idle_gates_fall_silent(lab: GateLaboratory) -> None:
    """A gate whose factors do not change any more stops to announce changes.

    Why: the pool collects the changes of a gate at each time that it announces.  A gate that
    announces times for ever, at which nothing changes, costs time in an idle program.

    How it is tested: after a random history, nothing is reported any more.  The law goes to the
    time ``due`` again and again.  5000 times in a row at which no factor changes are a breach.  A
    gate without members is not tested, nor a gate whose factors change for ever, for example by
    the time of day.

    What it cannot see: announcements for a gate without members.
    """
    lab.begin(least=1)
    for _ in lab.more(_STEPS):
        lab.step()
    if not lab.members:
        lab.add(lab.names[0])
    lab.check(
        "empty_changes(gate, members, now, limit) < limit",
        f"the gate announced {_MOST_EMPTY} times in a row at which no factor changed",
        members=lab.members,
        now=lab.now,
        limit=_MOST_EMPTY,
    )


@law()
def limits_open_at_rest(lab: GateLaboratory) -> None:
    """A gate with ``limits_in_flight`` opens every backend when no request is in flight.

    Why: such a gate promises that a backend opens when requests end, so requests wait for this.
    If it stays closed, they wait in vain.  The usual fault is a count that is never reduced.

    How it is tested: after a random history, all requests end with an unknown result, at one time.
    Then all factors must be 1.  The gate's own calls are not made.  A gate without
    ``limits_in_flight`` is not tested.

    What it cannot see: limits that are too high or too low.
    """
    lab.begin(actions=("request", "finish", "settle", "tick", "add", "remove", "burst"))
    if not getattr(lab.gate, "limits_in_flight", False):
        return
    for _ in lab.more(_STEPS):
        lab.step()
    while lab.flights:
        lab.finish(0, "UNKNOWN")
    lab.settle()
    for backend in lab.members:
        why = f"{backend} has no request in flight, so a limit must not close it"
        lab.check("gate.factor(backend, now) == 1", why, backend=backend, now=lab.now)


LAWS = (
    factors_are_factors,
    factors_move_only_as_announced,
    changes_names_every_change,
    changes_settle,
    idle_gates_fall_silent,
    limits_open_at_rest,
)
