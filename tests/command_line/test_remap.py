"""``remap`` counts what a change moves, for every method and step by step."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balancers import Balancer, HashRing
from balancers._command_line.methods import METHODS
from balancers.hashing import Anchor
from balancers.interop import envoy, haproxy, nginx
from tests.command_line.command import bad, data, text

WORDS = [f"user:{number}" for number in range(2000)]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "keys"
    path.write_text("\n".join(WORDS))
    return str(path)


def picked(balancer: Balancer[str]) -> list[str]:
    return [balancer.pick(key) for key in WORDS]


def check(step: Any, before: list[str], after: list[str]) -> None:
    """Compare a step of the document with a count of its own."""
    pairs = Counter(pair for pair in zip(before, after, strict=True) if pair[0] != pair[1])
    assert step["moved"] == pairs.total()
    assert step["fraction"] == pairs.total() / len(WORDS)
    assert {(each["source"], each["target"]): each["keys"] for each in step["moves"]} == pairs
    for each in step["servers"]:
        name = each["server"]
        assert each["before"] == before.count(name)
        assert each["after"] == after.count(name)
        assert each["lost"] == sum(n for (source, _), n in pairs.items() if source == name)
        assert each["gained"] == sum(n for (_, target), n in pairs.items() if target == name)


@pytest.mark.parametrize(
    ("method", "make"),
    [
        ("hash_ring", HashRing),
        ("nginx:hash", nginx.Hash),
        ("nginx:consistent", nginx.ConsistentHash),
        ("haproxy:consistent", haproxy.Consistent),
        ("envoy:ring_hash", envoy.RingHash),
    ],
)
def test_a_new_server(method: str, make: Callable[..., Balancer[str]], file: str) -> None:
    document = data("remap", "a=2,b,c", "a=2,b,c,d", "--methods", method, "--keys", file)
    assert document["keys"] == len(WORDS)
    (found,) = document["methods"]
    assert found["method"] == method
    (step,) = found["steps"]
    before, after = make({"a": 2, "b": 1, "c": 1}), make({"a": 2, "b": 1, "c": 1, "d": 1})
    check(step, picked(before), picked(after))
    assert step["unavoidable"] == pytest.approx(0.2)
    assert found["total"] == step


def test_steps_and_their_total(file: str) -> None:
    weights = [{"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 3, "c": 1}, {"a": 3, "c": 1}]
    texts = [",".join(f"{name}={weight}" for name, weight in each.items()) for each in weights]
    document = data("remap", *texts, "--methods", "nginx:consistent,hash_ring", "--keys", file)
    for found, make in zip(document["methods"], (nginx.ConsistentHash, HashRing[str]), strict=True):
        picks = [picked(make(each)) for each in weights]
        assert len(found["steps"]) == 3
        for step, before, after in zip(found["steps"], picks, picks[1:], strict=False):
            check(step, before, after)
        check(found["total"], picks[0], picks[-1])
        assert found["steps"][2]["moved"] == 0


def test_own_methods_keep_their_state() -> None:
    """A server that is replaced gives its bucket to the new one, and a return undoes a removal."""
    for method in ("anchor", "memento"):
        document = data(
            "remap", "a,b,c,d", "a,b,c,e", "a,b,c,d", "--methods", method, "--random", "3000"
        )
        first, second = document["methods"][0]["steps"]
        assert first["moved"] == first["servers"][3]["before"] == second["moved"]
        assert document["methods"][0]["total"]["moved"] == 0
    document = data("remap", "a,b,c,d", "a,b,c", "--methods", "jump", "--random", "3000")

    (step,) = document["methods"][0]["steps"]
    assert step["moved"] == step["servers"][3]["before"]
    assert "only the last of 4 members, 'd', can leave Jump, not 'a'" in bad(
        "remap", "a,b,c,d", "b,c,d", "--methods", "jump"
    )


def test_the_last_members_leave_first() -> None:
    document = data("remap", "a,b,c,d", "a,b", "--methods", "jump", "--random", "300")
    rows = document["methods"][0]["total"]["servers"]
    assert [each["after"] > 0 for each in rows] == [True, True, False, False]


@pytest.mark.parametrize(
    ("method", "make"), [("nginx:hash", nginx.Hash), ("haproxy:consistent", haproxy.Consistent)]
)
def test_a_program_reads_a_new_configuration(
    method: str, make: Callable[..., Balancer[str]], file: str
) -> None:
    """The order of its servers may have an effect, and their numbers."""
    document = data("remap", "a,b,c", "c,b,a", "b,d,a", "--methods", method, "--keys", file)
    picks = [picked(make([*names])) for names in ("abc", "cba", "bda")]
    for step, before, after in zip(document["methods"][0]["steps"], picks, picks[1:], strict=False):
        check(step, before, after)


def test_the_capacity_of_anchor_is_for_all_steps(file: str) -> None:
    names = "abcdefgh"
    texts = [",".join(names[:count]) for count in (1, 4, 8)]
    document = data("remap", *texts, "--methods", "anchor", "--keys", file)
    anchor = Anchor(["a"], capacity=16)
    before = picked(anchor)
    for name in names[1:]:
        anchor.put(name)
    check(document["methods"][0]["total"], before, picked(anchor))
    assert "capacity must be above 2" in bad(
        "remap", "a", "a,b,c", "--methods", "anchor,capacity=2"
    )


def test_a_new_program(file: str) -> None:
    servers = "a:80=2,b:80"
    weights = {"a:80": 2, "b:80": 1}
    document = data(
        "remap",
        servers,
        servers,
        "a:80,b:80",
        *("--methods", "nginx:consistent"),
        *("--new-method", "envoy:ring_hash,minimum_ring_size=64"),
        *("--keys", file),
    )
    (found,) = document["methods"]
    assert (found["new_method"], found["new_settings"]) == (
        "envoy:ring_hash",
        {"minimum_ring_size": "64"},
    )
    picks = [
        picked(nginx.ConsistentHash(weights)),
        picked(envoy.RingHash(weights, minimum_ring_size=64)),
        picked(envoy.RingHash(["a:80", "b:80"], minimum_ring_size=64)),
    ]
    check(found["steps"][0], picks[0], picks[1])
    check(found["steps"][1], picks[1], picks[2])
    assert found["steps"][0]["unavoidable"] == 0


def test_server_lines_of_both_programs(tmp_path: Path, file: str) -> None:
    (tmp_path / "nginx.conf").write_text("upstream x { server s1 weight=2; server s2; }")
    (tmp_path / "haproxy.cfg").write_text("server s1 a:1 weight 2\nserver s2 b:1 id 9\n")
    document = data(
        "remap",
        f"@{tmp_path / 'nginx.conf'}",
        f"@{tmp_path / 'haproxy.cfg'}",
        *("--methods", "nginx:hash", "--new-method", "haproxy:consistent", "--keys", file),
    )
    farm = haproxy.Consistent([haproxy.Server("s1", weight=2), haproxy.Server("s2", id=9)])
    check(
        document["methods"][0]["total"],
        picked(nginx.Hash({"s1": 2, "s2": 1})),
        picked(farm),
    )


def test_the_unavoidable_part_counts_weights_only_where_they_have_an_effect() -> None:
    methods = "hash_ring,maglev,caddy:header,jump,multi_probe,anchor,memento,"
    methods += "libmemcached:modula,nginx:hash"
    document = data("remap", "a,b", "a=3,b", "--methods", methods, "--random", "1000")
    parts = {each["method"]: each["total"]["unavoidable"] for each in document["methods"]}
    assert parts == {
        "hash_ring": 0.25,
        "maglev": 0.25,
        "caddy:header": 0,
        "jump": 0,
        "multi_probe": 0,
        "anchor": 0,
        "memento": 0,
        "libmemcached:modula": 0,
        "nginx:hash": 0.25,
    }


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_planned(method: str) -> None:
    """Also with a server that leaves and with keys that are addresses."""
    document = data("remap", "a,b,c", "a,b", "--methods", method, "--random", "3000")
    total = document["methods"][0]["total"]
    rows = {each["server"]: each for each in total["servers"]}
    assert rows["c"]["after"] == 0
    assert rows["c"]["lost"] == rows["c"]["before"] <= total["moved"]
    assert total["unavoidable"] == pytest.approx(1 / 3)
    counts = [each["after"] for each in total["servers"]]
    assert sum(counts) == 3000
    hottest = total["hottest"]
    assert rows[hottest["server"]]["after"] == max(counts)
    assert hottest["ratio"] == pytest.approx(max(counts) / 1500)


def test_methods_side_by_side_have_one_line_each() -> None:
    out = text(
        *("remap", "a,b", "a,b,c", "--methods", "hash_ring,jump,nginx:hash", "--random", "2000")
    ).splitlines()
    assert out[0].split()[:5] == ["method", "step", "moved", "unavoidable", "exchanged"]
    assert [line.split()[0] for line in out[1:-1]] == ["hash_ring", "jump", "nginx:hash"]
    assert out[-1] == "2000 keys"
    assert all(line.endswith(" c new") for line in out[1:-1])


def test_one_method_shows_every_server() -> None:
    out = text("remap", "a,b", "a,b,c", "--random", "500").splitlines()
    assert out[3].split() == ["server", "before", "lost", "gained", "after", "growth"]
    assert [line.split()[0] for line in out[4:7]] == ["a", "b", "c"]
    assert out[6].split()[-1] == "-"


def test_random_keys_are_determined_by_the_seed() -> None:
    arguments = ("remap", "a,b", "a,b,c", "--random", "100")
    assert data(*arguments) == data(*arguments) != data(*arguments, "--seed", "2")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("a,b",), "AFTER"),
        (("a,b", "a,b,b"), "'b'"),
        (("a,b", "a=x"), "'x'"),
        (("a,b", ""), "no servers"),
        (("a,b", "a=0,b=0"), "no backend available"),
        (("a,b", "a", "--methods", "ring"), "'ring'"),
        (("a,b", "a", "--methods", ""), "''"),
        (("a,b", "a", "--new-method", "maglev,jump"), "'maglev,jump'"),
        (("a,b", "a", "--methods", "nginx:ip_hash", "--keys", "-"), "'user:1'"),
        (("a,b", "a/b", "--methods", "hash_ring", "--new-method", "haproxy:consistent"), "'a/b'"),
        (("a=0.5,b", "a", "--methods", "hash_ring,nginx:hash"), "0.5"),
    ],
)
def test_bad_plans(arguments: tuple[str, ...], named: str) -> None:
    assert named in bad("remap", *arguments, stdin=b"user:1\n")


def test_random_plans_agree_with_the_library(file: str) -> None:
    rng = Random(5)
    for _ in range(10):
        lists = [
            {name: rng.choice([1, 1, 2, 0.5]) for name in "abcdefg" if rng.random() < 0.7}
            or {"a": 1}
            for _ in range(2)
        ]
        texts = [",".join(f"{name}={weight}" for name, weight in each.items()) for each in lists]
        step = data("remap", *texts, "--keys", file)["methods"][0]["steps"][0]
        check(step, *(picked(HashRing(each)) for each in lists))
