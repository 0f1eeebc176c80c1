"""The map of the packages, drawn from their imports."""

import ast
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from balancers.quality.plots import COLOURS, style

__all__ = ["GROUPS", "draw", "imports", "levels", "reduced"]

HOME = Path(__file__).parents[1] / "balancers"
GROUPS = {
    "errors": "errors, event",
    "event": "errors, event",
    "balancer": "balancer, gate, load",
    "gate": "balancer, gate, load",
    "load": "balancer, gate, load",
    "membership": "membership, named_membership",
    "named_membership": "membership, named_membership",
    "outcome": "outcome, addresses",
    "addresses": "outcome, addresses",
}
"""Modules of the root that are drawn as one box."""
Graph = dict[str, set[str]]


def imports() -> Graph:
    """Return which parts of the package each part imports, read from the code.

    ``_internal``, which every part may import, is left out.
    """
    graph: Graph = {}
    for path in sorted(HOME.rglob("*.py")):
        part = _part(".".join(path.relative_to(HOME.parent).with_suffix("").parts))
        targets = graph.setdefault(part, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("balancers"):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                known = [str(name) for name in names if _exists(str(name))]
                targets.add(_part(max(known, key=len)))
        targets -= {part, "_internal"}
    del graph["_internal"]
    return graph


def levels(graph: Graph) -> list[list[str]]:
    """Return the parts by level: each part imports from lower levels only."""
    depth: dict[str, int] = {}

    def level(part: str) -> int:
        if part not in depth:
            depth[part] = 1 + max((level(target) for target in graph[part]), default=-1)
        return depth[part]

    rows: list[list[str]] = [[] for _ in range(1 + max(map(level, graph)))]
    for part, number in sorted(depth.items()):
        rows[number].append(part)
    return rows


def reduced(graph: Graph) -> Graph:
    """Return the graph without the imports that follow from others."""

    def reached(part: str) -> set[str]:
        return graph[part].union(*map(reached, graph[part]))

    return {
        part: targets.difference(*map(reached, targets)) if targets else set()
        for part, targets in graph.items()
    }


def draw(path: Path) -> None:
    """Draw the map: a row per level, an arrow from each part to those it is built on."""
    graph = imports()
    rows = levels(graph)
    with style():
        figure = Figure(figsize=(6.4, 0.85 * len(rows)), layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        center: dict[str, tuple[float, float]] = {}
        for height, row in enumerate(rows):
            for number, part in enumerate(row):
                center[part] = x, y = (number + 0.5) / len(row), float(height)
                label = part if part != "balancers" else "balancers\n(27 common names)"
                label = label.replace("membership, ", "membership,\n")
                width = 0.03 + 0.0135 * max(map(len, label.split("\n")))
                box = FancyBboxPatch(
                    (x - width / 2, y - 0.22), width, 0.44, mutation_aspect=9, zorder=2,
                    boxstyle="round,pad=0,rounding_size=0.01",
                    facecolor="#e8f1f8", edgecolor=COLOURS[0],
                )  # fmt: skip
                axes.add_patch(box)
                axes.text(x, y, label, ha="center", va="center", fontsize=8.5, zorder=3)
        for part, targets in reduced(graph).items():
            for target in targets:
                (x, y), (to_x, to_y) = center[part], center[target]
                axes.annotate(
                    "", (to_x, to_y + 0.23), (x, y - 0.23),
                    arrowprops={"arrowstyle": "->", "color": "#777777", "lw": 0.8},
                )  # fmt: skip
        figure.savefig(path)


def _exists(module: str) -> bool:
    path = HOME.parent.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _part(module: str) -> str:
    names = module.removesuffix(".__init__").split(".")
    part = names[1] if len(names) > 1 else "balancers"
    return GROUPS.get(part, part)
