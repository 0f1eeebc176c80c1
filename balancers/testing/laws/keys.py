"""Laws for balancers that pick by key."""

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law
from balancers.testing._palettes import KEYS

__all__ = ["LAWS"]

_SETS, _PLACES = 40, 12
_MAP = "{key: lb.pick(key=key) for key in keys}"


@law(needs="keyed")
def a_key_stays_put(lab: BalancerLaboratory) -> None:
    """A key is picked the same backend, as long as the members and weights stay the same.

    Why: the backend has the session or the cache of this key.

    How it is tested: between two picks of a key there are picks of other keys, with and without
    avoided backends, requests that start (and end, if the balancer is bounded), and later times.
    The keys include 0, an empty text, empty bytes, a negative number, a large number and a long
    text.

    What it cannot see: whether keys are spread evenly.
    """
    lab.begin(least=1)
    lab.history(6)
    lab.finish_all()
    if not lab.eligible():
        return
    if lab.settings.keys is None:
        keys = [*KEYS]
        lab.run("keys = given", given=keys)
    else:
        keys = lab.let_keys(6)
    lab.run(f"owners = {_MAP}")
    for _ in lab.more(6):
        action = lab.below(4)
        if action == 1:
            lab.now += 1.5
        elif action == 2:
            avoid = lab.some_of([*lab.weights])
            if lab.eligible(avoid):
                lab.pick(lab.one_of(keys), avoid)
        elif action == 3:
            lab.start(lab.pick(lab.one_of(keys)))
            if "bounded" in lab.settings.traits:
                lab.finish_all()
        else:
            lab.pick(lab.one_of(keys))
    given = f", now={lab.now!r}" if lab.now else ""
    why = "the members are the same, but keys have another backend"
    lab.check(f"{{key: lb.pick(key=key{given}) for key in keys}} == owners", why)


@law(needs="keyed", without="historical", share=0.3)
def the_map_is_a_function_of_the_set(lab: BalancerLaboratory) -> None:
    """Two balancers with the same members and weights map all keys to the same backends.

    Why: several proxies, and a proxy after a restart, must agree, whatever the order in which they
    learned about the members.

    How it is tested: after a random history, and when no request is in flight, a new balancer gets
    the members in another order, and each quiesced member first with its last positive weight.
    Both map 62 keys.  Some of them are unusual, for example an empty text.

    What it cannot see: other keys.
    """
    lab.begin(actions=("put", "discard", "re_add", "flip", "request", "pick", "finish"))
    lab.let_keys(50, odd=True)
    if lab.below(2) and lab.eligible():
        lab.run(f"before = {_MAP}")
    lab.history(10)
    lab.finish_all()
    if not lab.eligible():
        return
    lab.make("new")
    members = [*lab.weights]
    for backend in members[::-1] if lab.below(2) else sorted(members):
        weight = lab.last_weights[backend]
        lab.run("new.put(backend, weight=weight)", backend=backend, weight=weight)
        if weight and not lab.weights[backend]:
            lab.run("new.put(backend, weight=0)", backend=backend)
    why = "a new balancer with the same members maps keys to other backends"
    lab.check(f"{_MAP} == {_MAP.replace('lb', 'new')}", why)


def _changed(lab: BalancerLaboratory) -> tuple[str, str]:
    """Change one member, between the maps ``before`` and ``after``; return it and the change."""
    lab.let_keys(70, odd=True)
    weighted = "weighted" in lab.settings.traits
    changes = [
        "joins",
        "leaves",
        "quiesced",
        "opened",
        "avoided",
        *(["heavier", "lighter"] * weighted),
    ]
    change = lab.one_of(changes)
    backend = [*lab.weights][-1] if lab.stacked else lab.one_of([*lab.weights])
    palette = sorted(lab.settings.weights or (0.5, 1, 2, 3))
    if change == "joins":
        lab.discard(backend)
    elif change == "opened":
        lab.put(backend, 0)
    elif change in {"heavier", "lighter"}:
        lab.put(backend, palette[0] if change == "heavier" else palette[-1])
    else:
        lab.put(backend, lab.one_of(palette))
    if not lab.eligible([backend]):
        return backend, ""
    lab.run(f"before = {_MAP}")
    if change == "leaves":
        lab.discard(backend)
    elif change == "quiesced":
        lab.put(backend, 0)
    elif change in {"heavier", "lighter"}:
        lab.put(backend, palette[-1] if change == "heavier" else palette[0])
    elif change != "avoided":
        lab.put(backend, lab.one_of(palette))
    after = _MAP.replace("=key)", "=key, avoid=[backend])") if change == "avoided" else _MAP
    lab.run(f"after = {after}", **({"backend": backend} if change == "avoided" else {}))
    lab.let("moved", "[key for key in before if before[key] != after[key]]")
    return backend, change


@law(needs="keyed minimal_disruption", share=0.5)
def only_the_keys_of_the_changed_move(lab: BalancerLaboratory) -> None:
    """When one backend changes, keys move only to it or away from it.

    Why: each moved key is a lost session or a cold cache.  If a backend fails, the others have
    enough to do.

    How it is tested: after a random history, one backend joins, leaves, is quiesced, is opened, is
    avoided, or gets another weight.  82 keys are mapped before and after it.

    What it cannot see: a few keys that move without need; see also more_weight_only_attracts.
    """
    lab.begin(least=2, actions=("put", "discard", "re_add", "flip", "pick"))
    lab.history(5)
    if not lab.weights:
        return
    backend, change = _changed(lab)
    if not change:
        return
    why = f"{backend!r} changed ({change}), but keys moved between other backends"
    line = "[key for key in moved if backend not in (before[key], after[key])] == []"
    lab.check(line, why, backend=backend)
    if change in {"joins", "opened", "heavier"}:
        why = f"{backend!r} changed ({change}), but keys moved away from it"
        lab.check("[key for key in moved if before[key] == backend] == []", why, backend=backend)


@law(needs="keyed minimal_disruption weighted", share=0.2)
def more_weight_only_attracts(lab: BalancerLaboratory) -> None:
    """A backend that gets more weight loses no key, and one that gets less wins none.

    Why: a slow start raises the weight many times.  Each step must only add keys.

    How it is tested: one backend gets several weights, up and down; 80 keys are mapped each time.

    What it cannot see: how many keys move.
    """
    members = lab.add_members(2 + lab.below(4))
    palette = sorted(lab.settings.weights or (0.25, 0.5, 1, 2, 3, 10))
    for backend in members:
        lab.put(backend, lab.one_of(palette))
    backend = lab.one_of(members)
    lab.let_keys(80)
    lab.run(f"before = {_MAP}")
    for _ in range(1 + lab.below(3)):
        old, new = lab.weights[backend], lab.one_of(palette)
        lab.put(backend, new)
        lab.run(f"after = {_MAP}")
        side = "before" if new >= old else "after"
        change = "more" if new >= old else "less"
        why = f"{backend!r} got {change} weight, but keys moved the other way"
        line = (
            f"[key for key in keys if before[key] != after[key] and {side}[key] == backend] == []"
        )
        lab.check(line, why, backend=backend)
        lab.run("before = after")


@law(needs="keyed", once=True)
def keyed_shares_follow_weights(lab: BalancerLaboratory) -> None:
    """On average over many names, a backend gets keys in proportion to its weight.

    Why: hashes of names that differ in one character can be similar.  With FNV-1a, five servers
    that differ in the port got 12.5 % four times, and 50 % (Traefik's rendezvous hashing).

    How it is tested: 40 sets of names like addresses with ports, with 100 keys each.  The mean
    share of each place must be between half and twice its expectation.  A single ring may be far
    from its shares, and its mean over 40 sets is not.  The weights are equal, or 1 and 5, and for a
    fractional balancer also 1 and 0.25.  In ten sets of 12 names with 300 keys, most backends must
    have a key.

    What it cannot see: a deviation below a factor of two.
    """
    count = min(5, lab.settings.max_members)
    weights: list[float] = [1] * count
    palette = lab.settings.weights or (1, 5)
    if "weighted" in lab.settings.traits:
        light = min(palette)
        weights = [light] * (count - 1) + [max(w for w in palette if w <= 10 * light)]
    _check_places(lab, [min(palette)] * count)
    if len({*weights}) > 1:
        _check_places(lab, weights)
    lab.make("lb")
    if "weighted" in lab.settings.traits and not lab.settings.weights and lab.run("lb.fractional"):
        _check_places(lab, [1, 1, 0.25][:count])
    count = min(_PLACES, lab.settings.max_members)
    keys = lab.let_keys(25 * count)
    if len(keys) == 25 * count:
        lab.run("idle = idle_places(make, weights, keys)", weights=[min(palette)] * count)
        why = "too many backends have no key at all"
        lab.check("idle <= limit", why, limit=10 * count // 3)


def _check_places(lab: BalancerLaboratory, weights: list[float]) -> None:
    keys = lab.let_keys(100)
    lab.run("counts = place_counts(make, weights, keys)", weights=weights)
    total, picks = sum(weights), _SETS * len(keys)
    for place, weight in enumerate(weights):
        share = weight / total
        low, high = int(picks * share / 2), min(picks, int(picks * share * 2) + 1)
        why = f"place {place} must have a mean share of about {share:.3g}"
        lab.check("low <= counts[place] <= high", why, low=low, high=high, place=place)


LAWS = (
    a_key_stays_put,
    the_map_is_a_function_of_the_set,
    only_the_keys_of_the_changed_move,
    more_weight_only_attracts,
    keyed_shares_follow_weights,
)
