"""What the pages state is so: the names, files and commands they name, their counts and tables.

Other numbers of the pages are in ``test_numbers.py``, and those that take longer to measure are
printed by ``python -m tests.figures``.
"""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balancers import Balancer, ConnectionLimit, Drain, Gate, HealthChecks, Load, Pool, SlowStart
from balancers.gates import (
    ActiveChecks,
    CoolDown,
    CostLimit,
    CostRateLimit,
    DynamicLimit,
    MemberGate,
    OutlierEjection,
    PassiveChecks,
    RequestRateLimit,
    WarmUp,
)
from balancers.hashing import HashedBalancer
from balancers.interop import ketama
from balancers.membership import Membership
from balancers.named_membership import NamedMembership
from balancers.pool._reader import PoolReader
from tests import figures, test_purity
from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import pools, simulations
from tests.kinds import KINDS, Kind, by_name
from tests.packages import DRAWN, HOME, PUBLIC, ROOT
from tests.system import drills
from tests.test_architecture import LEVELS

TOP = HOME.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md")
    for path in TOP.glob(pattern)
    if not {"_build", "generated"}.intersection(path.parts)
)
MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
NAMES = {
    name: getattr(import_module(home), name)
    for home, names in PUBLIC.items()
    if "interop" not in home
    for name in names
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(TOP)))


def text(page: str) -> str:
    """The text of a page with single spaces, so that a sentence is found across lines."""
    return " ".join((TOP / page).read_text(encoding="utf-8").split())


def has(subject: object, attribute: str) -> bool:
    """Whether an attribute exists, or is annotated in the class."""
    kinds = subject.__mro__ if isinstance(subject, type) else ()
    return hasattr(subject, attribute) or any(
        attribute in inspect.get_annotations(kind) for kind in kinds
    )


def follow(subject: Any, attributes: list[str]) -> bool:
    """Whether the attributes exist, each of the previous one."""
    for attribute in attributes:
        if not has(subject, attribute):
            return False
        subject = getattr(subject, attribute, None)
    return True


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    if find_spec("matplotlib") is None and dotted.startswith(tuple(DRAWN)):
        return True
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            subject: Any = import_module(".".join(parts[:count]))
        except ImportError:
            continue
        return follow(subject, parts[count:])
    return False


# names, files and commands


@every_page
def test_the_names_on_a_page_exist(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    roles = re.findall(r"\{(?:class|func|meth|attr|mod|data)\}`[~]?([\w.]+)`", written)
    assert [name for name in roles if not resolves(name)] == []
    attributes = re.findall(r"`([A-Z]\w+)\.(\w+)[`(]", written)
    assert [(n, a) for n, a in attributes if n in NAMES and not has(NAMES[n], a)] == []


def docstrings(tree: ast.AST, owner: object) -> Iterator[tuple[object, str]]:
    """The docstrings of a module, each with the class or module that it belongs to."""
    for node in getattr(tree, "body", []):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield owner, value.value
        if isinstance(node, ast.ClassDef):
            yield from docstrings(node, getattr(owner, node.name, owner))
        elif isinstance(node, ast.FunctionDef):
            yield from docstrings(node, owner)


@pytest.mark.parametrize("path", sorted(HOME.rglob("*.py")), ids=lambda p: str(p.relative_to(TOP)))
def test_the_references_in_docstrings_exist(path: Path) -> None:
    module = import_module(
        ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
    )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lost: list[str] = []
    for owner, docstring in docstrings(tree, module):
        for name in re.findall(r":(?:class|meth|attr|func|mod|data):`[~!]?([\w.]+)`", docstring):
            homes = [
                owner,
                module,
                import_module(module.__name__.rpartition(".")[0] or "balancers"),
            ]
            near = any(follow(home, name.split(".")) for home in homes)
            first, *rest = name.split(".")
            public = first in NAMES and follow(NAMES[first], rest)
            if not (near or public or resolves(name)):
                lost.append(name)
    assert lost == []


@every_page
def test_the_files_and_commands_on_a_page_exist(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    files = re.findall(r"(?<![\w/])((?:docs|tests|balancers|notebooks|\.ci)/[\w./*-]*\w)", written)
    names = [name.removesuffix("/") for name in files if "generated" not in name]
    assert [name for name in names if not list(TOP.glob(name))] == []
    targets = re.findall(r"`make ([\w-]+)", written)
    assert [name for name in targets if not re.search(rf"^{name}:", MAKEFILE, re.MULTILINE)] == []
    modules = re.findall(r"python -m (tests[\w.]*)", written)
    assert [name for name in modules if find_spec(name) is None] == []


@every_page
def test_the_tests_on_a_page_exist(page: Path) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text(encoding="utf-8"))
    defined = {
        path: set(re.findall(r"def (\w+)\(", (TOP / path).read_text(encoding="utf-8")))
        for path, _ in named
        if (TOP / path).exists()
    }
    assert [(path, name) for path, name in named if name not in defined.get(path, ())] == []


def test_no_page_states_how_long_a_file_is() -> None:
    """Such numbers are wrong after the next change; "at most 300 lines" is a rule, and tested."""
    for page in PAGES:
        found = re.findall(r"(?<!at most )\b\d+ lines\b|^\|.*\| lines \|", page.read_text("utf-8"))
        assert not found, page


def own_of(base: type, *without: type) -> set[str]:
    """The public attributes that a class defines, and these others do not."""
    own = {name for name in vars(base) if not name.startswith("_")}
    return own - {name for other in without for name in dir(other)}


def test_the_pages_name_every_extension_point_of_a_gate() -> None:
    points = own_of(MemberGate, Gate) | {"timers"}
    contracts = text("docs/decisions/contracts.md").partition("For gates these are")[2]
    assert set(re.findall(r"`(\w+)`", contracts.partition("`tests/")[0])) == points
    gates = text("docs/gates.md").partition("Its extension points are:")[2]
    table = re.findall(r"\| `(\w+)(?:\([\w, ]+\))?` \| (?:define|call|use) it", gates)
    assert set(table) == points | {"factor"}
    contributing = text("CONTRIBUTING.md").partition("## Add a gate")[2]
    named = set(re.findall(r"`(\w+)`", contributing.partition("2. ")[0]))
    assert named <= points | set(dir(Gate)) | {"self", "True", "reason", "MemberGate"}


def test_the_pages_name_every_extension_point_of_a_balancer() -> None:
    contracts = text("docs/decisions/contracts.md").partition("For balancers these are")[2]
    plain, _, hashed = contracts.partition("For gates")[0].partition("for hash balancers also")
    bases = (Membership, NamedMembership)
    known = {name for base in bases for name in own_of(base, Balancer)} | {"hash_key"}
    assert set(re.findall(r"`(\w+)`", plain)) == known - {"hash_key"}
    methods = own_of(HashedBalancer, *bases) - {"plan", "replicas", "hash_many", "pick_many"}
    assert set(re.findall(r"`(\w+)`", hashed)) == methods
    glossary = (TOP / "docs/glossary.md").read_text(encoding="utf-8")
    entry = glossary.partition("\nextension point\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", entry)) <= known | own_of(MemberGate)


def test_the_required_members_of_the_contracts() -> None:
    page = (TOP / "docs/decisions/contracts.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE))
    required = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows.items()}
    assert required == {
        "Balancer": {*vars(Balancer)["__abstractmethods__"]},
        "Gate": {*vars(Gate)["__abstractmethods__"], "reason"},
        "Load": {*vars(Load)["__abstractmethods__"]},
    }


# tables and counts that repeat the code


def test_the_number_of_common_names() -> None:
    for page in PAGES:
        for stated in re.findall(r"the (\d+)\s+most\s+common", page.read_text(encoding="utf-8")):
            assert int(stated) == len(ROOT), page


def test_the_levels_of_the_packages_are_those_that_are_tested() -> None:
    page = (TOP / "docs/decisions/packages.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE)
    stated = {int(level): set(re.findall(r"`(\w+)`", parts)) for level, parts in rows}
    assert stated == {
        number: {part or "balancers" for part in level} for number, level in enumerate(LEVELS, 1)
    }


def test_the_table_of_the_pool_has_every_module() -> None:
    page = (TOP / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("| module | responsibility |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`(\w+\.py)`", table))
    assert listed == {path.name for path in (HOME / "pool").glob("*.py")} - {"__init__.py"}


def test_a_field_of_a_member_has_one_writer() -> None:
    """Each other field is written by ``Members``."""
    assert "`Member` is a record with one writer per field" in text("docs/architecture.md")
    writers = dict[str, set[str]]()
    for path in (HOME / "pool").glob("*.py"):
        written = re.findall(r"\bmember\.(\w+)(?: = \w+)? [-+]?= ", path.read_text("utf-8"))
        chained = re.findall(r"= member\.(\w+) = ", path.read_text("utf-8"))
        if written or chained:
            writers[path.name] = {*written, *chained}
    others = {
        "_requests.py": {"in_flight", "requests", "failures"},
        "_charges.py": {"cost"},
        "_weights.py": {"effective_weight"},
    }
    assert {name: writers[name] for name in others} == others
    assert set(writers) - {"_groups.py"} == {*others, "_members.py"}
    assert not writers["_members.py"] & set().union(*others.values())


def test_the_methods_of_a_pool() -> None:
    """Six for requests, and four that change the membership; the rest reads."""
    reading = {name for name in dir(PoolReader) if not name.startswith("_")}
    own = {name for name in dir(Pool) if not name.startswith("_")}
    changing = {"add", "remove", "set_weight", "update"}
    requests = {"acquire", "release", "lease", "plan", "progress", "group"}
    assert own - reading == requests | changing


def test_the_table_of_the_gates() -> None:
    page = (TOP / "docs/gates.md").read_text(encoding="utf-8")
    rng = Random(1)
    gates: dict[str, Any] = {
        "HealthChecks": HealthChecks(), "ActiveChecks": ActiveChecks(rng=rng),
        "PassiveChecks": PassiveChecks(), "OutlierEjection": OutlierEjection(),
        "CoolDown": CoolDown(rng=rng), "Drain": Drain(), "SlowStart": SlowStart(30),
        "WarmUp": WarmUp(30), "ConnectionLimit": ConnectionLimit(1),
        "DynamicLimit": DynamicLimit(1, 1, 1), "CostLimit": CostLimit(1),
        "RequestRateLimit": RequestRateLimit(1), "CostRateLimit": CostRateLimit(1),
    }  # fmt: skip
    row = r"^\| (\{class\}.*?) \| ([\w ]+) \| (\w+) \| (\w+)[^|]*\| (\w+) \|$"
    rows = re.findall(row, page, re.MULTILINE)
    seen = set[str]()
    for classes, reason, panic, bound, fractions in rows:
        for name in re.findall(r"balancers\.(?:gates\.)?(\w+)`", classes):
            gate = gates[name]
            found = (gate.reason, gate.soft, gate.spares_bound or name == "SlowStart")
            assert found == (reason, panic == "yes", bound == "yes"), name
            assert gate.fractional == (fractions == "yes"), name
            seen.add(name)
    assert seen == set(gates)


def share_of_b(kind: Kind, weight: float) -> float:
    lb = kind.make({"a": 1, "b": weight})
    keys = (f"10.{number >> 8}.{number & 255}.1" for number in range(3000))
    picks: list[Any] = []
    for key in keys:
        picks.append(lb.pick(key))
        if kind.name.startswith("LeastLoaded"):  # a weight divides a load, which needs requests
            lb.started(picks[-1])
    return picks.count("b") / 3000


def test_the_columns_of_the_algorithms() -> None:
    """Whether a balancer is keyed, and whether it honours weights."""
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (`.*?) \| .* \| (.*?) \| (\w+) \|$", readme, re.MULTILINE)
    rows = {
        name: ("no" if name in weights else "yes" if "not" in weights else weights, key)
        for names, weights, key in table
        for name in re.findall(r"`(\w+)`", names)
    }
    found = dict[str, tuple[str, str]]()
    for kind in KINDS:
        if type(kind.make()).__name__ in {"Tiers", "Zones"}:
            assert kind.make().keyed is kind.name.endswith("-keyed")
            found[kind.name.removesuffix("-keyed")] = "as inside", "either"
            continue
        honoured = share_of_b(kind, 3) - share_of_b(kind, 1) > 0.05
        if kind.name == "LeastConnections-ties":  # the weights are those of the ties
            continue
        words = "yes" if honoured else "over a ring" if kind.name == "IPHash" else "no"
        if kind.name == "IPHash-over-HashRing":
            assert honoured
        else:
            lb = kind.make()
            found[type(lb).__name__] = words, "yes" if lb.keyed else "no"
    assert found == rows


@every_page
def test_the_options_and_extras_on_a_page_exist(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    sources = [*TOP.glob("docs/examples/*.py"), *TOP.glob("tests/**/*.py")]
    known = "".join(path.read_text(encoding="utf-8") for path in sources)
    others = {"--check", "--dist", "--durations", "--repository"}  # of ruff, pytest and twine
    options = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z0-9]+)*", written)) - others
    assert [option for option in options if f'"{option}"' not in known] == []
    extras = re.findall(r"(?:balancers|\.)\[(\w+)\]", written)
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])


def test_the_recorded_picks_are_counted_right() -> None:
    """The replay is tested in ``tests/parity``; these are its totals, as the pages have them."""
    lines = (TOP / "tests/vectors/in_scope.txt").read_text(encoding="utf-8").splitlines()
    picks = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    total = sum(int(count) for _, count in picks)
    programs = {"nginx": "nginx_", "haproxy": "haproxy_", "envoy": "envoy_", "caddy": "caddy_"}
    pages = {program: text(f"docs/interop/{program}.md") for program in (*programs, "ketama")}
    sentence = re.compile(r"every one of ([\d ]+?) (?:recorded )?picks")
    stated = {
        program: int(found[1].replace(" ", ""))
        for program, page in pages.items()
        if (found := sentence.search(page))
    }
    counted = {
        program: sum(int(n) for name, n in picks if name.rpartition("/")[2].startswith(start))
        for program, start in programs.items()
    }
    assert counted | {"ketama": total - sum(counted.values())} == stated
    by_phase = sum(
        int(count)
        for name, count in picks
        if name.rpartition("/")[2].startswith("envoy_")
        and re.search(
            r'"policy": ?"(?:ROUND_ROBIN|LEAST_REQUEST)"',
            (TOP / "tests/vectors" / name).read_text(encoding="utf-8"),
        )
    )
    assert f"{by_phase} of these start at a phase" in pages["envoy"]
    beyond = [int(n) for page in pages.values() for n in re.findall(r"and (\d+) more", page)]
    assert f"replay {total + sum(beyond):,} picks".replace(",", " ") in text("README.md")
    assert f"{len(picks)} files, {total} picks" in text("tests/vectors/README.md")


def test_the_versions_of_the_programs_are_those_that_were_recorded() -> None:
    oracles = set[str]()
    for path in (TOP / "tests/vectors").rglob("*.json"):
        oracles |= set(re.findall(r'"oracle": ?"(\w+ [\d.]+)', path.read_text(encoding="utf-8")))
    page = text("docs/interop/index.md")
    stated = re.findall(r"\| ((?:\w+ [\d.]+, )*\w+ [\d.]+) \|", page)
    assert {one.lower() for each in stated for one in each.split(", ")} == oracles


def test_the_programs_that_ci_installs() -> None:
    ci = (TOP / ".ci/run").read_text(encoding="utf-8")
    found = re.search(r"install -q -y --no-install-recommends ((?:.*\\\n)*.*)", ci)
    assert found
    installed = set(found[1].split()) - {"\\"}
    contributing = re.search(r"`make check` installs .*?: (.*?)\. ", text("CONTRIBUTING.md"))
    readme = re.search(r"the Debian packages (.*?) are not installed", text("README.md"))
    assert contributing
    assert readme
    assert set(re.findall(r"`([\w-]+)`", contributing[1])) == installed
    assert set(re.findall(r"`([\w-]+)`", readme[1])) == installed - {"make"} - {
        "iproute2",
        "keepalived",
        "nftables",
    }  # deep tests only


def test_the_oldest_python() -> None:
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"CPython {oldest} or later" in text("README.md")


def test_the_number_of_drills() -> None:
    """20 with the honest balancer, the sabotaged ones, each other algorithm, and one over HTTP."""
    runs = 20 + len(drills.SABOTAGED) + len(drills.OTHERS) + 1
    assert f"| all drills, {runs} runs, on busy cores |" in text("CONTRIBUTING.md")
    assert 'default=20, help="runs with the honest balancer"' in inspect.getsource(drills)


def test_the_benchmarks_are_as_the_page_says() -> None:
    page = text("docs/performance.md")
    words = {1: "once", 2: "twice", 3: "three times"}
    assert f"measured again, up to {words[benchmarks.RETRIES]}" in page
    reach = pools.REACH
    assert f"is {reach['RoundRobin'][4]} U over `RoundRobin`" in page
    assert f"and {reach['LeastConnections'][4]} U over `LeastConnections`" in page


def test_the_targets_of_simulations_are_those_of_the_rows() -> None:
    page = (TOP / "docs/performance.md").read_text(encoding="utf-8")
    rows = [row.reach for row in simulations.rows()]
    assert re.findall(r"\| ([≥≤] [\d./]+) \|", page) == [
        f"≥ {-reach:g}" if reach < 0 else f"≤ 1/{round(1 / reach)}" for reach in rows
    ]


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.page)
def test_a_measured_figure_stands_on_its_page(figure: figures.Figure) -> None:
    assert figures.documented(figure) is not None


def test_no_two_presets_of_ketama_agree() -> None:
    """With the default hashes of the clients, as the page of memcached clients says."""
    servers = [f"10.0.0.{number}:11211" for number in range(3)]
    made = [
        ketama.LibmemcachedKetama(servers), ketama.LibmemcachedKetama(servers, weighted=True),
        ketama.LibmemcachedSpy(servers), ketama.LibmemcachedModula(servers),
        ketama.TwemproxyKetama(servers), ketama.TwemproxyModula(servers),
        ketama.UHashRing(servers), ketama.UHashRingKetama(servers),
    ]  # fmt: skip
    picks = [tuple(lb.pick(f"user:{number}") for number in range(300)) for lb in made]
    assert len(set(picks)) == len(made)


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_an_empty_str_is_refused_as_avoid(kind: Kind) -> None:
    lb = kind.make(["10.0.0.1", "10.0.0.2"])
    for empty in ("", b""):
        with pytest.raises(TypeError, match="collection of backends"):
            lb.pick("192.0.2.1", 0.0, empty)
    assert "and so are bytes and an empty str" in text("docs/decisions/errors.md")


def test_the_functions_that_raise_in_the_core() -> None:
    owners = {getattr(owner, "__name__", "") for owner, _ in test_purity.IMPURE}
    page = text("docs/decisions/limits_of_scope.md")
    sentence = re.search(r"while functions of ([\w, ]+) raise", page)
    assert sentence
    stated = set(re.findall(r"\w+", sentence[1])) - {"and"}
    assert stated == owners - {"numpy.random", "Thread"}
    listed = re.search(r"does not import ([\w, ]+)\.", page)
    assert listed
    assert set(re.findall(r"\w+", listed[1])) - {"or"} <= test_purity.FORBIDDEN
