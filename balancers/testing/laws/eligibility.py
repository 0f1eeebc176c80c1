"""Laws for every balancer: which backends may be picked, and what is refused."""

from balancers.testing._balancer_laboratory import BalancerLaboratory
from balancers.testing._law import law
from balancers.testing._palettes import FORMS

__all__ = ["LAWS"]

_MOST_LINES = 100_000
_BAD_WEIGHTS = (-1, float("nan"), float("inf"), -0.5, float("-inf"))


@law()
def refuses_in_bounded_work(lab: BalancerLaboratory) -> None:
    """When no backend can be picked, ``pick`` ends soon.

    Why: a search that continues until it finds an open backend never ends when none is open.  It
    then holds the lock of the pool (Traefik, pull request 13511).

    How it is tested: after a random history, some backends are quiesced and all others avoided.
    The lines of Python that ``pick`` executes are counted; more than 100 000 are a breach.

    What it cannot see: work in C, and loops that need more than 12 members.
    """
    lab.begin()
    lab.history(6)
    for backend in lab.some_of([*lab.weights]):
        lab.put(backend, 0)
    arguments = lab.arguments(lab.key(), lab.eligible())
    lab.check(
        f"executed_lines(lambda: lb.pick({lab.call(arguments)}), limit) <= limit",
        f"a refusal executed more than {_MOST_LINES} lines",
        limit=_MOST_LINES,
        **arguments,
    )


@law()
def picks_only_eligible_backends(lab: BalancerLaboratory) -> None:
    """``pick`` returns a member that has a positive weight and is not avoided.

    Why: requests that are sent to a removed, quiesced or avoided backend fail.

    How it is tested: in random histories, each pick is compared with the members.  ``avoid`` is a
    list, a tuple, a set, a frozenset or a dict.

    What it cannot see: whether the pick is a good one.
    """
    lab.begin(
        actions=("put", "flip", "discard", "re_add", "start", "finish", "tick", "pick", "request")
    )
    for _ in lab.more():
        lab.step()
        avoid = lab.some_of(lab.names) if lab.below(2) else []
        eligible = lab.eligible(avoid)
        if eligible:
            arguments = lab.arguments(lab.key(), lab.avoided(avoid))
            picked = lab.let("picked", f"lb.pick({lab.call(arguments)})", **arguments)
            why = f"{picked!r} was picked, which is not eligible"
            lab.check("picked in eligible", why, eligible=eligible)
            if lab.below(2):
                lab.start(picked)


@law()
def refuses_exactly_when_none_is_eligible(lab: BalancerLaboratory) -> None:
    """``pick`` raises NoBackendAvailable if no backend is eligible, and nothing else.

    Why: a pool turns NoBackendAvailable into a refusal that says why and until when.  A KeyError or
    a ZeroDivisionError becomes an internal error of the program, and None a wrong backend.

    How it is tested: in random histories, all backends are quiesced, avoided, removed, or each of
    them one of these.  A pick follows, then one with an eligible backend.

    What it cannot see: whether the reason in the error is right.
    """
    lab.begin()
    for _ in lab.more(4):
        lab.history(4)
        closed = lab.some_of([*lab.weights])
        for backend in closed:
            lab.put(backend, 0)
        avoid = lab.eligible() + lab.some_of(["not a member"])
        arguments = lab.arguments(lab.key(), lab.avoided(avoid))
        lab.check_raises(
            "NoBackendAvailable",
            f"lb.pick({lab.call(arguments)})",
            "no backend is eligible, but pick does not raise NoBackendAvailable",
            **arguments,
        )
        for backend in closed:
            lab.put(backend, lab.one_of(lab.palette))
        if lab.eligible():
            lab.pick(lab.key())


@law(share=0.3)
def leaves_its_arguments_alone(lab: BalancerLaboratory) -> None:
    """``avoid`` is not changed, and its form makes no difference.

    Why: a caller passes the same collection to each try.  A balancer that adds to it, or that
    expects a set, breaks the second try.

    How it is tested: copies of the balancer get the same backends as a list, a tuple, a set, a
    frozenset and a dict.  All picks are equal, and no collection has changed.

    What it cannot see: an argument that is stored and changed later, unless a later step uses it.
    """
    lab.begin()
    for _ in lab.more(3):
        lab.history(6)
        avoid = lab.some_of(lab.names)
        if not lab.eligible(avoid):
            continue
        arguments = lab.arguments(lab.key(), avoid or ["not a member"])
        backends = list(arguments["avoid"])
        call = lab.call(arguments)
        lab.run("copies = [deepcopy(lb) for _ in range(count)]", count=len(FORMS))
        arguments = {**arguments, "avoid": FORMS[0](backends)}
        first = lab.let("first", f"copies[0].pick({call})", **arguments)
        for number, form in enumerate(FORMS):
            arguments["avoid"] = form(backends)
            if number:
                kind = type(arguments["avoid"]).__name__
                why = f"the pick is not {first!r} if avoid is a {kind}"
                lab.check(f"copies[number].pick({call}) == first", why, **arguments, number=number)
            lab.let("given", "avoid", avoid=form(backends))
            lab.run(f"lb.pick({call})".replace("avoid=avoid", "avoid=given"), **arguments)
            lab.check(
                "list(given) == list(avoid)",
                "pick changed the collection avoid",
                avoid=form(backends),
            )


@law(share=0.3)
def refuses_bad_weights(lab: BalancerLaboratory) -> None:
    """``put`` raises InvalidWeight for a negative, infinite or NaN weight, and changes nothing.

    Why: with a NaN every comparison is false, so one wrong number in a configuration can end all
    traffic, or send all of it to one backend.

    How it is tested: in random histories, bad weights are put for members and for others, some of
    which join later.  The balancer then continues like a twin that never got them.

    What it cannot see: whether the message names the value.
    """
    lab.begin(twins=["twin"])
    for _ in lab.more(5):
        lab.history(4)
        others = [name for name in lab.names if name not in lab.weights]
        backend = lab.one_of([*lab.weights, "not a member", *others, *others, *others])
        lab.check_raises(
            "InvalidWeight",
            "lb.put(backend, weight=weight)",
            "put does not raise InvalidWeight for this weight",
            backend=backend,
            weight=lab.one_of(_BAD_WEIGHTS),
        )
    lab.history(12)


LAWS = (
    refuses_in_bounded_work,
    picks_only_eligible_backends,
    refuses_exactly_when_none_is_eligible,
    leaves_its_arguments_alone,
    refuses_bad_weights,
)
