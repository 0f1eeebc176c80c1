"""Laws for gates in pools."""

from itertools import count
from math import inf, nextafter

from balancers.testing._gate_laboratory import GateLaboratory
from balancers.testing._laboratory import NotTested
from balancers.testing._law import law

__all__ = ["LAWS"]

_STEPS = 20
_ROUNDING = 1e-8
_ACTIONS = (
    "request",
    "request",
    "fail",
    "finish",
    "event",
    "tick",
    "to_due",
    "before_due",
    "add",
    "remove",
)


@law(once=True)
def is_a_gate(lab: GateLaboratory) -> None:
    """A gate has the attributes that a pool reads, and a pool accepts it.

    Why: a pool fails at the first request if an attribute has the wrong type.

    How it is tested: ``reason``, ``soft``, ``spares_bound``, ``fractional``, ``due`` and the
    optional ``last_resort`` and ``limits_in_flight`` are read.  A gate with ``last_resort`` must
    not be soft.  A pool is created with the gate, and a request is made.

    What it cannot see: whether the attributes are true.
    """
    lab.make("gate")
    lab.check("isinstance(gate.reason, str)", "reason must be a str")
    for flag in ("soft", "spares_bound", "fractional"):
        lab.check(f"gate.{flag} in {{True, False}}", f"{flag} must be True or False")
    for flag in ("last_resort", "limits_in_flight"):
        lab.check(
            f"getattr(gate, {flag!r}, False) in {{True, False}}", f"{flag} must be True or False"
        )
    lab.check("gate.due <= inf", "due must be a number of seconds")
    lab.check(
        "not (gate.soft and getattr(gate, 'last_resort', False))",
        "a gate with last_resort must not be soft",
    )
    lab.run("pool = Pool(WeightedRoundRobin(['a', 'b']), [gate], now=1.0)")
    lab.run("error = raised(lambda: pool.release(pool.acquire(2.0), 3.0))")
    lab.check(
        "error is None or isinstance(error, NoBackendAvailable)",
        "a request in a pool with this gate raised an unexpected exception",
    )


@law(once=True)
def one_pool_only(lab: GateLaboratory) -> None:
    """A gate that belongs to a pool is refused by a second pool, and a copy of it is not.

    Why: a gate counts the members and requests of its pool.  In two pools, it mixes them up.

    How it is tested: two pools are created with the same gate.  The second one must raise
    AlreadyInUse.  A pool with a deep copy of the gate must not.  A gate without the attribute
    ``taken`` to which none can be added is not tested, because a pool cannot mark it.

    What it cannot see: two pools that get the gate by other means.
    """
    lab.make("gate")
    gate = lab.gate
    if getattr(gate, "taken", False) is not False:
        raise NotTested("the gate has an attribute taken with another meaning")
    try:
        gate.taken = False
    except AttributeError:
        raise NotTested("the gate does not allow new attributes") from None
    lab.run("pool = Pool(WeightedRoundRobin(['a']), [gate])")
    lab.check_raises(
        "AlreadyInUse",
        "Pool(WeightedRoundRobin(['b']), [gate])",
        "a second pool must raise AlreadyInUse for the same gate",
    )
    lab.run("pool.remove('a')")
    lab.run("other = Pool(WeightedRoundRobin(['b']), [deepcopy(gate)])")


@law()
def pools_follow_their_gates(lab: GateLaboratory) -> None:
    """In a pool, the effective weight of each member is its weight times the factor of the gate.

    Why: this is what a gate is for.  All other laws serve it.

    How it is tested: a pool with this gate alone gets a random history of requests, results and
    members.  After each request, the effective weight of each member is compared with the factor.
    A gate with ``last_resort`` is not compared, because the pool may ignore it.

    What it cannot see: gates together with others.
    """
    lab.make("gate")
    lab.draw(_ACTIONS)
    lab.run("pool = Pool(WeightedRoundRobin(), [gate], panic=None)")
    for backend in lab.names:
        lab.run("pool.add(backend, now=now)", backend=backend, now=lab.now)
        lab.members.append(backend)
    compared = not getattr(lab.gate, "last_resort", False)
    leases: list[str] = []
    for _ in lab.more(_STEPS):
        if not _step(lab, leases) or not compared:
            continue
        for backend in lab.members:
            lab.check(
                f"abs(pool.effective_weight(backend) - gate.factor(backend, now)) < {_ROUNDING}",
                f"the pool has not noticed that the factor of {backend} changed",
                backend=backend,
                now=lab.now,
            )


def _step(lab: GateLaboratory, leases: list[str]) -> bool:
    """Perform one drawn action.  Return whether the pool has seen the time of the action."""
    action = lab.one_of(lab.actions)
    absent = [name for name in lab.names if name not in lab.members]
    events = lab.settings.events
    match action:
        case "request":
            name = next(name for name in map("lease_{}".format, count(1)) if name not in leases)
            lease = lab.let(name, "acquired(pool, now)", now=lab.now)
            if lease is not None:
                leases.append(name)
            return True
        case "fail" | "finish" if leases:
            lease = leases.pop(lab.below(len(leases)))
            ok = False if action == "fail" else lab.one_of((True, None, False))
            after = lab.one_of((None, 2.0)) if action == "finish" else None
            rest = ", retry_after=2.0" if after else ""
            lab.run(f"pool.release({lease}, now, {ok}{rest})", now=lab.now)
            return True
        case "add" if absent:
            backend = lab.one_of(absent)
            lab.run("pool.add(backend, now=now)", backend=backend, now=lab.now)
            lab.members.append(backend)
        case "remove" if lab.members:
            backend = lab.one_of(lab.members)
            lab.run("pool.remove(backend, now=now)", backend=backend, now=lab.now)
            lab.members.remove(backend)
        case "event" if lab.members:
            line = events.line(lab.one_of([*events.lines]), "gate")
            lab.run(line, backend=lab.one_of(lab.members), now=lab.now)
        case "tick":
            lab.now += lab.one_of(lab.ticks)
        case "to_due" if lab.now < lab.due < inf:
            lab.now = lab.due
        case "before_due" if lab.now < lab.due < inf:
            lab.now = nextafter(lab.due, -inf)
        case _:
            pass
    return False


LAWS = (is_a_gate, one_pool_only, pools_follow_their_gates)
