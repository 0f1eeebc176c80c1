"""The pictures of the documentation, drawn with the library at build time."""

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from balancers import (
    Balancer,
    HashRing,
    IPHash,
    Lease,
    LeastConnections,
    Maglev,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    Rendezvous,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.algorithms import LeastLoaded
from balancers.gates import Consecutive, transitions
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, Jump, Memento, MultiProbe
from balancers.loads import PeakEwma
from balancers.quality.plots import COLOURS, HATCHES, ring_circle, style, text_colour

__all__ = ["draw_all"]

WIDTH = 6.0
"""In inches.  On a page of 360 pixels the text is still 8 pixels high."""
GREY = "#d0d0d0"
GOOD, BAD = COLOURS[2], COLOURS[5]


def draw_all(folder: Path) -> None:
    """Draw every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in PICTURES:
        with style():
            figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
            draw(figure)
            figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})


def picks(lb: Balancer[Any], count: int) -> list[Any]:
    return [lb.pick() for _ in range(count)]


def draw_sequence(axes: Axes, sequence: Iterable[str], order: list[str], label: str) -> None:
    """Draw one coloured cell per pick, from left to right."""
    for place, backend in enumerate(sequence):
        colour = COLOURS[order.index(backend)]
        axes.add_patch(Rectangle((place, 0), 0.92, 1, color=colour))
        ink = text_colour(colour)
        axes.text(place + 0.46, 0.5, backend, ha="center", va="center", color=ink)
    axes.set(xlim=(0, place + 1), ylim=(0, 1), yticks=[], xticks=[])
    axes.set_title(label, fontweight="normal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def round_robin(figure: Figure) -> None:
    """Draw the cycles: all open, c closed, and a new backend in the next cycle."""
    lb = RoundRobin(["a", "b", "c"])
    quiet = picks(lb, 9)
    lb.put("c", 0)
    closed = picks(lb, 8)
    lb.put("c")
    lb.put("d")
    grown = picks(lb, 8)
    axes = figure.subplots(1, 1)
    draw_sequence(axes, [*quiet, *closed, *grown], ["a", "b", "c", "d"], "")
    for place, text in ((0, "all open"), (9, "c quiesced"), (17, "c open again, d added")):
        axes.axvline(place, ymax=1.0, color="black", lw=1)
        axes.text(place + 0.1, 1.12, text)
    axes.set_ylim(0, 1.5)


def weighted_round_robin(figure: Figure) -> None:
    """Draw the same shares in blocks and evenly spread."""
    weights = {"a": 5, "b": 2, "c": 1}
    blocks, smooth = figure.subplots(2, 1)
    order = list(weights)
    runs = [backend for backend, weight in weights.items() for _ in range(weight)]
    label = "weights 5, 2, 1 in blocks: a is picked five times in a row"
    draw_sequence(blocks, runs * 3, order, label)
    label = "WeightedRoundRobin: the same shares, evenly spread"
    draw_sequence(smooth, picks(WeightedRoundRobin(weights), 24), order, label)


def random_choice(figure: Figure) -> None:
    """Draw the difference between the greatest and the least count."""
    axes = figure.subplots(1, 1)
    members = [f"n{i}" for i in range(10)]
    balancers: dict[str, Balancer[str]] = {
        "RandomChoice": RandomChoice(members, rng=Random(7)),
        "RoundRobin": RoundRobin(members),
    }
    for label, lb in balancers.items():
        counts, gaps = dict.fromkeys(members, 0), list[int]()
        for backend in picks(lb, 2000):
            counts[backend] += 1
            gaps.append(max(counts.values()) - min(counts.values()))
        axes.plot(gaps, label=label)
    axes.set(xlabel="picks", ylabel="greatest count - least count")
    axes.legend()


def simulate(lb: Balancer[str], seconds: dict[str, int], steps: int) -> dict[str, list[int]]:
    """Send one request per step, each as long as its backend takes; return in flight per step."""
    ends: list[tuple[int, str]] = []
    counts_now = dict.fromkeys(seconds, 0)
    seen: dict[str, list[int]] = {backend: [] for backend in seconds}
    for now in range(steps):
        for _, backend in (done := [end for end in ends if end[0] <= now]):
            lb.finished(backend)
            counts_now[backend] -= 1
        ends = [end for end in ends if end not in done]
        backend = lb.pick()
        lb.started(backend)
        counts_now[backend] += 1
        ends.append((now + seconds[backend], backend))
        for name, count in counts_now.items():
            seen[name].append(count)
    return seen


def in_flight(figure: Figure, pairs: list[tuple[str, Balancer[str]]], slow: str) -> None:
    """Draw the requests in flight on each backend, one of which is slow."""
    seconds = {"a": 6, "b": 6, "c": 30}
    charts = figure.subplots(1, len(pairs), sharey=True)
    for axes, (title, lb) in zip(charts, pairs, strict=True):
        seen = simulate(lb, seconds, 240)
        for backend, counts in seen.items():
            axes.plot(counts, label=backend + (slow if backend == "c" else ""))
        axes.set(xlabel="requests")
        axes.set_title(title, fontsize="small")
    charts[0].set_ylabel("in flight")
    charts[0].legend()


def least_connections(figure: Figure) -> None:
    """Draw how round robin accumulates requests on the slow backend."""
    pairs: list[tuple[str, Balancer[str]]] = [
        ("RoundRobin", RoundRobin(["a", "b", "c"])),
        ("LeastConnections", LeastConnections(["a", "b", "c"])),
    ]
    in_flight(figure, pairs, ", five times slower")


def weighted_least_connections(figure: Figure) -> None:
    """Draw how in flight follows the weights, independent of the speed."""
    weights = {"a": 4.0, "b": 2.0, "c": 1.0}
    pairs: list[tuple[str, Balancer[str]]] = [
        ("LeastConnections", LeastConnections(weights)),
        ("WeightedLeastConnections, 4, 2, 1", WeightedLeastConnections(weights)),
    ]
    in_flight(figure, pairs, ", five times slower")


def power_of_two(figure: Figure) -> None:
    """Draw the distribution of requests for one, two and three choices."""
    axes = figure.subplots(1, 1)
    n = 10_000
    for place, choices in enumerate((1, 2, 3)):
        lb = PowerOfTwoChoices(range(n), rng=Random(1), choices=choices)
        counts = [0] * n
        for _ in range(n):
            backend = lb.pick()
            lb.started(backend)
            counts[backend] += 1
        greatest = max(counts)
        bars = [counts.count(load) / n for load in range(greatest + 1)]
        places = [load + 0.27 * (place - 1) for load in range(greatest + 1)]
        label = f"{choices} choice{'s' * (choices > 1)}: at most {greatest}"
        axes.bar(
            places, bars, 0.25, color=COLOURS[place], hatch=HATCHES[place], edgecolor="white",
            label=label,
        )  # fmt: skip
    axes.set(xlabel="requests in flight on a backend", ylabel="share of 10 000 backends")
    axes.legend()


def least_loaded(figure: Figure) -> None:
    """Draw the shares of backends of different speeds when they are nearly idle."""
    axes = figure.subplots(1, 1)
    seconds = {"0.05 s": 0.05, "0.1 s": 0.1, "0.2 s": 0.2, "0.4 s": 0.4}
    balancers: dict[str, Balancer[str]] = {
        "LeastConnections": LeastConnections([*seconds]),
        "LeastLoaded over PeakEwma": LeastLoaded([*seconds], load=PeakEwma()),
    }
    for place, (name, lb) in enumerate(balancers.items()):
        pool, arrivals = Pool(lb), Random(1)
        flying: list[tuple[float, Lease[str]]] = []
        counts, now = dict.fromkeys(seconds, 0), 0.0
        for _ in range(300):
            now += arrivals.expovariate(5)
            for end, lease in sorted(flying, key=lambda item: item[0]):
                if end <= now:
                    pool.release(lease, end)
            flying = [(end, lease) for end, lease in flying if end > now]
            lease = pool.acquire(now)
            counts[lease.backend] += 1
            flying.append((now + seconds[lease.backend], lease))
        shares = [count / sum(counts.values()) for count in counts.values()]
        places = [number + 0.4 * place - 0.2 for number in range(len(seconds))]
        axes.bar(places, shares, 0.38, color=COLOURS[place], hatch=HATCHES[place],
                 edgecolor="white", label=name)  # fmt: skip
    axes.set(xticks=range(len(seconds)), xticklabels=seconds, xlabel="duration of a request",
             ylabel="share of the requests")  # fmt: skip
    axes.legend()


def moved_needlessly(lb: Balancer[Any], clients: list[Any], backend: str) -> list[bool]:
    before = [lb.pick(client) for client in clients]
    lb.discard(backend)
    after = [lb.pick(client) for client in clients]
    return [old not in (backend, new) for old, new in zip(before, after, strict=True)]


def ip_hash(figure: Figure) -> None:
    """Draw which of 300 clients move although their backend stays, when one of six leaves."""
    clients = [f"198.51.{i // 250}.{i % 250}" for i in range(300)]
    charts = figure.subplots(1, 2)
    for axes, (label, lb) in zip(
        charts,
        (
            ("modulo", IPHash([*"abcdef"])),
            ("over=HashRing()", IPHash([*"abcdef"], over=HashRing())),
        ),
        strict=True,
    ):
        needless = moved_needlessly(lb, clients, "c")
        for place, yes in enumerate(needless):
            spot = Rectangle((place % 30, place // 30), 0.9, 0.9)
            spot.set(facecolor=BAD if yes else GREY, edgecolor="white")
            axes.add_patch(spot)
        axes.set(xlim=(0, 30), ylim=(0, 10), xticks=[], yticks=[],
                 title=f"{label}:\n{sum(needless)} of 300 moved needlessly")  # fmt: skip
        for spine in axes.spines.values():
            spine.set_visible(False)


def hash_ring(figure: Figure) -> None:
    """Draw the ring with few points and with many."""
    figure.set_size_inches(WIDTH, 3.0)
    charts = figure.subplots(1, 3, subplot_kw={"projection": "polar"})
    for axes, points in zip(charts, (1, 10, 160), strict=True):
        ring = HashRing([*"abcdef"], points=points)
        ring_circle(ring, ax=axes)
        legend = axes.get_legend()
        legend.remove()
        most = max(ring.shares().values()) * 6
        plural = "s" * (points > 1)
        title = f"{points} point{plural}: the largest\nshare is {most:.2f} × the mean"
        axes.set_title(title, loc="center", fontsize="small")
    names = [text.get_text()[0] for text in legend.get_texts()]
    figure.legend(legend.legend_handles, names, loc="outside lower center", ncols=6)


def owners(figure: Figure, lb: HashedBalancer[str], changes: list[tuple[str, str]]) -> None:
    """Draw the backends of 36 keys, at first and after each change; a frame marks moved keys."""
    figure.set_size_inches(WIDTH, 0.85 * (1 + len(changes)))
    charts = figure.subplots(1 + len(changes), 1)
    order, keys = [*"abcdef"], [f"user:{number}" for number in range(36)]
    was: list[str] = []
    for axes, (change, backend) in zip(charts, [("at first", ""), *changes], strict=True):
        if change == "leaves":
            lb.discard(backend)
        elif backend:
            lb.put(backend, {"is quiesced": 0, "has weight 3": 3}.get(change, 1))
        now = [lb.pick(key) for key in keys]
        draw_sequence(axes, now, order, f"{backend} {change}")
        for place, (before, after) in enumerate(zip(was, now, strict=False)):
            if before != after:
                axes.add_patch(Rectangle((place, 0.02), 0.92, 0.96, fill=False, linewidth=1.6))
        was = now


def maglev(figure: Figure) -> None:
    """Draw the keys; some keys of other backends move, because the table has only 13 slots."""
    owners(figure, Maglev([*"abcd"], size=13), [("is quiesced", "b"), ("leaves", "b")])


def rendezvous(figure: Figure) -> None:
    """Draw the keys; each change moves only the necessary ones."""
    owners(figure, Rendezvous([*"abcd"]), [("leaves", "b"), ("has weight 3", "d")])


def multi_probe(figure: Figure) -> None:
    """Draw the largest and the smallest share for several numbers of probes."""
    axes = figure.subplots(1, 1)
    probes = [1, 2, 3, 5, 8, 13, 21, 34]
    most: list[float] = []
    least: list[float] = []
    for count in probes:
        lb = MultiProbe([f"b{number}" for number in range(50)], probes=count)
        picked = lb.pick_many(lb.hash_many(range(50_000))).tolist()
        shares = [picked.count(place) / 1000 for place in range(50)]
        most.append(max(shares))
        least.append(min(shares))
    places = range(len(probes))
    white = {"edgecolor": "white"}
    axes.bar(places, most, color=COLOURS[0], label="the largest share", **white)
    axes.bar(places, least, color=COLOURS[1], hatch="//", label="the smallest share", **white)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(xlabel="probes", ylabel="multiple of the mean", xticks=places, xticklabels=probes)
    axes.legend()


def jump(figure: Figure) -> None:
    """Draw the keys; a new backend gets keys, and other changes move only their own."""
    owners(figure, Jump([*"abcd"]), [("joins", "e"), ("is quiesced", "b"), ("opens", "b")])


def anchor(figure: Figure) -> None:
    """Draw the keys; any backend may leave, and the next one gets the keys freed last."""
    lb = Anchor([*"abcd"], capacity=8)
    owners(figure, lb, [("leaves", "b"), ("joins", "e"), ("leaves", "a")])


def memento(figure: Figure) -> None:
    """Draw the keys; like jump, but any backend may leave."""
    owners(figure, Memento([*"abcd"]), [("leaves", "b"), ("joins", "e"), ("joins", "f")])


def bounded_load(figure: Figure) -> None:
    """Draw the requests in flight per backend when some keys are hot."""
    charts = figure.subplots(1, 3, sharey=True)
    members, rng = [f"b{number}" for number in range(12)], Random(4)
    keys = [f"user:{int(rng.paretovariate(0.7))}" for _ in range(240)]
    for axes, c in zip(charts, (0.0, 2.0, 1.25), strict=True):
        ring = HashRing(members)
        lb: Balancer[str] = BoundedLoad(ring, c=c) if c else ring
        held = dict.fromkeys(members, 0)
        for key in keys:
            backend = lb.pick(key)
            lb.started(backend)
            held[backend] += 1
        axes.bar(range(12), held.values(), color=COLOURS[0])
        if c:
            axes.axhline(c * 20, color=COLOURS[5], linewidth=1.4)
        axes.set(xticks=[], xlabel="backends")
        axes.set_title(f"c = {c}" if c else "without a bound", fontweight="normal")
    charts[0].set(ylabel="requests in flight")


def control_loop(figure: Figure) -> None:
    """Draw the control loop: gates, pool, balancer, load and the caller's program."""
    figure.set_size_inches(WIDTH, 3.2)
    axes = figure.subplots(1, 1)
    axes.set(xlim=(0, 12), ylim=(0, 5))
    axes.axis("off")
    boxes = (
        (2.0, 4.0, "gates\nfactor per backend"),
        (6.4, 2.4, "pool\nmembers, leases"),
        (10.4, 4.0, "balancer\npicks a backend"),
        (10.4, 0.8, "load\nhow busy?"),
        (2.0, 0.8, "your program"),
    )
    frame = {"boxstyle": "round,pad=0.5", "facecolor": "#eef3f8", "edgecolor": COLOURS[0]}
    for x, y, text in boxes:
        axes.text(x, y, text, ha="center", va="center", bbox=frame)
    arrows = (
        ((2.0, 1.25), (2.0, 3.45), "probes,\nevents", (0.75, 2.4)),
        ((3.5, 3.9), (5.5, 2.9), "changed\nfactors", (5.0, 3.85)),
        ((7.4, 2.9), (9.2, 3.9), "effective weight\n= weight × Π factors", (7.3, 4.2)),
        ((9.6, 3.45), (7.7, 2.4), "pick", (9.2, 2.75)),
        ((10.4, 3.45), (10.4, 1.35), "value", (10.9, 2.4)),
        ((3.2, 1.05), (5.3, 2.1), "acquire, release", (3.5, 1.9)),
        ((5.7, 1.85), (3.2, 0.7), "lease", (5.0, 1.0)),
    )
    for begin, end, text, place in arrows:
        axes.annotate("", xy=end, xytext=begin, arrowprops={"arrowstyle": "->", "color": "#555555"})
        axes.text(*place, text, ha="center", va="center", fontsize=8, color="#333333")


def health_states(figure: Figure) -> None:
    """Draw the states of the default rule from its transition table."""
    table = transitions(Consecutive(3, 2))
    axes = figure.subplots(1, 1)
    axes.axis("off")
    healthy = [state for state in sorted(table) if state[0]]
    unhealthy = [state for state in sorted(table) if not state[0]]
    circle = [*healthy, *unhealthy]
    places = {state: (1.6 * place, 0.0) for place, state in enumerate(circle)}
    axes.set(xlim=(-0.8, 1.6 * len(circle) - 0.8), ylim=(-1.2, 1.2))
    for state, (x, y) in places.items():
        name = "healthy" if state[0] else "unhealthy"
        results = "failed" if state[0] else "ok"
        text = f"{name}\n{state[1]} {results}" if state[1] else name
        colour = "#e3f1e6" if state[0] else "#f6e3e3"
        frame = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": GREY}
        axes.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame)
    for state, follows in table.items():
        for after, colour, side in zip(follows, (BAD, GOOD), (1, -1), strict=True):
            if after == state:
                continue
            begin, end = places[state], places[after]
            bend = -0.35 * side if end[0] > begin[0] else 0.35 * side
            axes.annotate("", xy=(end[0], 0.28 * side), xytext=(begin[0], 0.28 * side),
                          arrowprops={"arrowstyle": "->", "color": colour,
                                      "connectionstyle": f"arc3,rad={bend}"})  # fmt: skip
    axes.text(-0.7, 1.0, "a check fails", color=BAD)
    axes.text(-0.7, -1.1, "a check succeeds", color=GOOD)


PICTURES = [
    control_loop,
    health_states,
    round_robin,
    weighted_round_robin,
    random_choice,
    least_connections,
    weighted_least_connections,
    least_loaded,
    power_of_two,
    ip_hash,
    hash_ring,
    maglev,
    rendezvous,
    multi_probe,
    jump,
    anchor,
    memento,
    bounded_load,
]
