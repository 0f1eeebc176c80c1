"""Laws for every balancer: what it remembers, and that every backend gets its turn."""

from typing import Any

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law
from balancers.testing._prelude import prelude

__all__ = ["LAWS"]

_MAP = "{key: lb.pick(key=key) for key in keys}"
_TURNS = 160
"""With the share 1/n, none of 160 n independent draws has a probability below e⁻¹⁶⁰.  If draws stay
for 4 picks on average, it is still below e⁻⁴⁰."""
_OUTCOMES = ("UNKNOWN", "SUCCESS", "FAILURE", "Outcome(ok=True, elapsed=0.25)")


def _requests(lab: BalancerLaboratory) -> int:
    total = sum(lab.weights.values())
    return int(_TURNS * total / min(weight for weight in lab.weights.values() if weight)) + 1


def _check_that_all_are_picked(lab: BalancerLaboratory, why: str) -> None:
    line = "never_picked(lb, backends, count)"
    never = lab.let("never", line, backends=lab.eligible(), count=_requests(lab))
    lab.check("never == []", f"{', '.join(map(repr, never))} is never picked {why}")


@law(without="keyed", share=0.2)
def discard_forgets(lab: BalancerLaboratory) -> None:
    """A backend that leaves and joins again is a new one.

    Why: an address that is used again belongs to another machine.  Requests in flight of the former
    one would keep the new one idle, sometimes for ever.

    How it is tested: a backend gets 400 requests per member, with slow and failed ones, leaves and
    joins again.  It must then be picked, and must not get all requests.  If the balancer is
    weighted, the backend had a higher weight before, and the shares are compared.

    What it cannot see: memory that has no effect on a pick, or a small one.
    """
    members = lab.add_members(2 + lab.below(3))
    backend = members[-1] if lab.stacked else lab.one_of(members)
    weighted = "weighted" in lab.settings.traits
    equal = min(lab.settings.weights or (1,))
    for other in members if weighted else []:
        lab.put(other, max(lab.settings.weights or (5,)) if other == backend else equal)
    load = 400 * len(members)
    lab.run("for _ in range(load):\n    lb.started(backend)", load=load, backend=backend)
    if lab.below(2):
        outcome = "Outcome(ok=False, elapsed=900.0)"
        line = f"for _ in range(9):\n    lb.finished(backend, outcome={outcome})"
        lab.run(line, backend=backend)
    if lab.below(2):
        for other in members:
            if other != backend:
                lab.put(other, 0)
        lab.run("picks = [lb.pick() for _ in range(load)]", load=load)
        for other in members:
            if other != backend:
                lab.put(other, equal)
    lab.discard(backend)
    lab.put(backend, equal)
    if lab.below(2):
        lab.run("lb.finished(backend)", backend=backend)
    _check_that_all_are_picked(lab, "after one of them left and joined again")
    if weighted and lab.below(4) == 0:
        _check_that_all_are_new(lab, members, equal)


def _check_that_all_are_new(lab: BalancerLaboratory, members: list[str], weight: float) -> None:
    lab.run("for name in names:\n    lb.discard(name)", names=members[::-1])
    lab.weights.clear()
    for backend in members:
        lab.put(backend, weight)
    lab.let("counts", "held_requests(lb, count)", count=600)
    for backend in members:
        why = f"all left and joined again; the share of {backend!r} must be 1/{len(members)}"
        lab.check_count("counts[name]", 600, 1 / len(members), why, slack=9, name=backend)


@law(share=0.2)
def started_and_finished_cancel(lab: BalancerLaboratory) -> None:
    """Requests that have ended leave no trace in the counts.

    Why: a request that is never counted down, for example a cancelled one, keeps its backend idle
    for ever.  One that is counted down twice makes a negative count, and its backend gets all
    traffic.

    How it is tested: a backend gets many requests that end with all kinds of outcomes, and further
    calls of ``finished`` that must be ignored.  All backends must then be picked.  A keyed balancer
    must map its keys as before.

    What it cannot see: a remainder of a few requests that is never repeated.
    """
    members = lab.add_members(2 + lab.below(3))
    if lab.keyed:
        lab.let_keys(100)
        lab.run(f"before = {_MAP}")
    backend = lab.one_of(members)
    load = 400 * len(members)
    extra = lab.one_of((0, load * 2))
    outcome = lab.one_of(_OUTCOMES[:2])
    bound = lab.one_of(("", ", bound=True"))
    lab.run(f"for _ in range(load):\n    lb.started(backend{bound})", load=load, backend=backend)
    flip = lab.below(3)
    if flip:
        lab.put(backend, 0)
    if flip == 1:
        lab.put(backend, 1)
    line = f"for _ in range(count):\n    lb.finished(backend, outcome={outcome})"
    lab.run(line, count=load + extra, backend=backend)
    if flip > 1:
        lab.put(backend, 1)
    if lab.keyed:
        lab.check(f"{_MAP} == before", "keys have moved, although no request is in flight")
    else:
        _check_that_all_are_picked(lab, "after requests started and ended")


@law(without="keyed", share=0.2)
def pick_counts_nothing(lab: BalancerLaboratory) -> None:
    """``pick`` does not count a request; only ``started`` does.

    Why: a pick that is not used, for example because the connection failed, never ends.  Counts
    that include it are wrong for ever.

    How it is tested: while all other backends are quiesced, one is picked many times.  All backends
    must then be picked.

    What it cannot see: balancers that do not use counts.
    """
    members = lab.add_members(2 + lab.below(3))
    backend = lab.one_of(members)
    for other in members:
        if other != backend:
            lab.put(other, 0)
    load = 400 * len(members)
    lab.run("picks = [lb.pick() for _ in range(load)]", load=load)
    for other in members:
        lab.put(other, 1)
    _check_that_all_are_picked(lab, "after another backend was picked many times")


_CHANGES = {
    "nothing": "",
    "its weight rises": "lb.put(other, weight=ramp[turn % len(ramp)])",
    "another leaves and joins": (
        "if turn % 2:\n    lb.discard(other)\n    lb.put(other, weight=top)"
    ),
    "another is quiesced and opened": "lb.put(other, weight=top * (turn % 2))",
    "another is quiesced and opened slowly": "lb.put(other, weight=top * (turn // 3 % 2))",
    "another is avoided": "counts.update([lb.pick(avoid=[other])])",
    "time passes": "",
    "much time passes": "",
    "another joins for one request": "lb.put(other, weight=top) if turn % 2 else lb.discard(other)",
}
"""The lines that run before each request."""
_STEPS = {"time passes": 0.25, "much time passes": 100.0}
"""The seconds between two requests."""


@law(without="keyed", share=0.2)
def no_backend_starves(lab: BalancerLaboratory) -> None:
    """Every backend with a positive weight gets requests, whatever happens to the others.

    Why: a balancer that begins a new cycle at each change never reaches the end of the cycle when
    changes are frequent: with 1000 backends of weight 128 and 100 of weight 10, the light ones got
    nothing (Envoy pull request 10064).

    How it is tested: before each request, nothing changes, a weight rises, time passes, or a
    backend joins and leaves, is quiesced and opened, or is avoided by another pick.  Every backend
    that was open all the time must be picked.  There are up to 160 requests per unit of the lowest
    weight.  A backend that leaves and joins does so before every second request, because a balancer
    may pick a new backend first.  Only balancers with the trait weighted have unequal weights here:
    another one may prefer a heavier backend while all are idle.

    What it cannot see: a share that is too low.
    """
    weighted = "weighted" in lab.settings.traits
    palette = [weight for weight in lab.drawn_palette() if weight > 0]
    palette = [weight for weight in palette if weight <= 4 * min(palette)]
    palette = palette if weighted else palette[:1]
    most = lab.settings.max_members
    prelude(lab)
    members = lab.add_members(min(2 + lab.below(3), max(1, most - 1)))
    for backend in members:
        lab.put(backend, lab.one_of(palette))
    change = lab.one_of([*_CHANGES] if most > 1 else ["nothing"])
    other, top = "other" if most > 1 else members[0], max(palette)
    lab.put(other, top)
    unchanged = {"nothing", *_STEPS, *(["its weight rises"] if weighted else [])}
    steady = [*lab.weights] if change in unchanged else members
    ramp = palette if lab.settings.weights else [top * step / 5 for step in range(1, 6)]
    values: dict[str, Any] = {
        "other": other,
        "top": top,
        "ramp": ramp,
        "turns": _requests(lab) // 4,
    }
    body = "\n".join(f"    {line}" for line in _CHANGES[change].splitlines())
    time = ", now=start + turn * step" if change in _STEPS else ""
    body += f"\n    counts.update(quiet_requests(lb, 1{time}))"
    lab.run("counts = Counter()")
    for number in range(4):
        values["step"] = _STEPS.get(change, 0)
        values["start"] = number * values["turns"] * values["step"]
        used = {name: value for name, value in values.items() if name in body or name == "turns"}
        lab.run(f"for turn in range(turns):\n{body}", **used)
        if all(map(lab.program.namespace["counts"].get, steady)):
            break
    for backend in steady:
        why = f"{backend!r} got no request (changes meanwhile: {change})"
        lab.check("counts[backend] > 0", why, backend=backend)


@law(share=0.3)
def a_flip_keeps_the_others_places(lab: BalancerLaboratory) -> None:
    """A backend that is quiesced and opened again changes nothing for the others.

    Why: health checks flip backends often.  A flip that is treated like a change of the members
    moves keys, restarts cycles and forgets counts.

    How it is tested: after flips, a keyed balancer maps all keys as before.  A rotating one picks
    the backends that never flip equally often at every moment: within one pick, or within three if
    it is weighted.  One that picks the
    least loaded backend still knows the requests of the flipped backend.

    What it cannot see: other balancers; for them see no_backend_starves.
    """
    traits = lab.settings.traits
    if lab.keyed:
        _check_that_flips_move_no_keys(lab)
    elif "least_loaded" in traits and ("rotating" not in traits or lab.below(2)):
        members = lab.add_members(2 + lab.below(3))
        backend = lab.one_of(members)
        busy = 1 + lab.below(3)
        for _ in range(busy):
            lab.start(backend)
        lab.put(backend, 0)
        lab.put(backend, 1)
        others = (len(members) - 1) * busy
        lab.let("counts", "held_requests(lb, count)", count=others)
        why = f"{backend!r} was picked, although it has more requests in flight than the others"
        lab.check("counts[backend] == 0", why, backend=backend)
    elif "rotating" in traits:
        members = lab.add_members(3 + lab.below(3))
        flipping = members[1 + lab.below(len(members) - 1) :][:2] if len(members) > 1 else []
        steady = [backend for backend in members if backend not in flipping]
        allowed = 3 if "weighted" in traits else 1
        lab.run("counts = Counter()")
        for _ in range(4 * len(members)):
            for backend in lab.some_of(flipping):
                lab.put(backend, 0 if lab.weights[backend] else 1)
            lab.run("counts.update([lb.pick()])")
            most, least = "max(counts[b] for b in steady)", "min(counts[b] for b in steady)"
            why = "the backends that never flip are not picked equally often"
            lab.check(f"{most} - {least} <= allowed", why, steady=steady, allowed=allowed)


def _check_that_flips_move_no_keys(lab: BalancerLaboratory) -> None:
    lab.begin(least=2, actions=("put", "discard", "re_add", "flip", "pick"))
    lab.history(6)
    if not lab.eligible():
        return
    lab.let_keys(60)
    lab.run(f"before = {_MAP}")
    weights = dict(lab.weights)
    for _ in lab.more(3):
        lab.put(lab.one_of([*weights]), 0)
        if lab.eligible() and lab.below(2):
            lab.pick(lab.key())
    for backend, weight in weights.items():
        if lab.weights[backend] != weight:
            lab.put(backend, weight)
    why = "after backends were quiesced and opened again, keys have another backend"
    lab.check(f"{_MAP} == before", why)


LAWS = (
    discard_forgets,
    started_and_finished_cancel,
    pick_counts_nothing,
    no_backend_starves,
    a_flip_keeps_the_others_places,
)
