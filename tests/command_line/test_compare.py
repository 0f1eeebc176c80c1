"""``compare`` shows what the simulation of each policy gives."""

from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from balancers import Balancer, HashRing, LeastConnections, RandomChoice, RoundRobin
from balancers._command_line.methods import POLICIES
from balancers.hashing import BoundedLoad
from balancers.simulation import (
    Bursty,
    Constant,
    Every,
    Exponential,
    HyperExponential,
    LogNormal,
    Pareto,
    Poisson,
    Server,
    UniformKeys,
    ZipfKeys,
    replicate,
    simulate,
)
from tests.command_line.command import bad, data, text

FEW = ("--requests", "2000", "--runs", "2")


def test_the_figures_are_those_of_replications() -> None:
    document = data("compare", "--servers", "4", "--load", "0.6", *FEW, "--seed", "5")
    assert document["rate"] == pytest.approx(24)
    names = [f"s{number}" for number in range(1, 5)]
    found = {each["policy"]: each for each in document["policies"]}
    assert [*found] == ["round_robin", "random", "two_choices", "least_connections"]
    makers: dict[str, Callable[..., Balancer[str]]] = {
        "round_robin": partial(RoundRobin, names),
        "random": partial(RandomChoice, names),
        "least_connections": partial(LeastConnections, names),
    }
    for name, make in makers.items():
        runs = replicate(
            make, Poisson(document["rate"]), Exponential(0.1), requests=2000, seeds=[10, 11]
        )
        response = found[name]["response"]
        assert response["mean"] == {
            "value": runs.mean,
            "low": runs.interval().low,
            "high": runs.interval().high,
        }
        for q, measure in ((50, "p50"), (99, "p99"), (99.9, "p99.9")):
            assert response[measure]["value"] == runs.percentile(q).mean
        assert found[name]["requests"] == sum(each.requests for each in runs.simulations)
        hottest = max(
            names, key=lambda name: sum(one.servers[name].utilisation for one in runs.simulations)
        )
        assert found[name]["hottest"]["server"] == hottest
        assert found[name]["engine"] == runs.simulations[0].engine


def test_weights_are_speeds_and_choose_the_default_policies() -> None:
    document = data("compare", "--servers", "a=3,b,c=0", *FEW, "--rate", "20")
    assert document["servers"] == {"a": 3, "b": 1, "c": 0}
    assert document["load"] == pytest.approx(0.5)
    assert [each["policy"] for each in document["policies"]] == [
        "weighted_round_robin",
        "random",
        "two_choices",
        "weighted_least_connections",
    ]
    run = simulate(
        RandomChoice({"a": 3, "b": 1, "c": 0}, rng=Random(1)),
        Poisson(20.0),
        Exponential(0.1),
        requests=20_000,
        seed=1,
        servers={"a": Server(speed=3.0), "b": Server(), "c": Server()},
    )
    assert document["policies"][1]["response"]["mean"]["value"] == pytest.approx(
        run.response.mean, rel=0.2
    )


def test_one_server_is_no_plural() -> None:
    assert text("compare", "--servers", "1", *FEW).startswith("1 server, load 0.9, ")


def test_a_policy_without_a_steady_state_has_no_times() -> None:
    arguments = (
        "compare",
        "--servers",
        "a=4,b,c",
        "--policies",
        "round_robin,weighted_round_robin",
    )
    unsteady, steady = data(*arguments, *FEW)["policies"]
    assert (unsteady["steady"], unsteady["response"]) == (False, None)
    assert "the load of 'b'" in unsteady["reason"]
    assert (steady["steady"], steady["reason"]) == (True, None)
    out = text(*arguments, *FEW)
    assert "round_robin: no response times: the load of 'b'" in out


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("exponential", Exponential(0.1)),
        ("constant", Constant(0.1)),
        ("lognormal:0.5", LogNormal(0.1, 0.5)),
        ("pareto:2.5", Pareto(0.1, 2.5)),
        ("hyperexponential:4", HyperExponential(0.1, 4)),
    ],
)
def test_laws_of_service(text: str, law: Exponential) -> None:
    document = data(
        "compare", *FEW, "--policies", "round_robin", "--service", text, "--load", "0.5"
    )
    runs = replicate(
        partial(RoundRobin, [f"s{number}" for number in range(1, 11)]),
        Poisson(50.0),
        law,
        requests=2000,
        seeds=[2, 3],
    )
    assert document["policies"][0]["response"]["mean"]["value"] == runs.mean


@pytest.mark.parametrize(("text", "law"), [("regular", Every(0.02)), ("bursty:4", Bursty(50.0, 4))])
def test_laws_of_arrivals(text: str, law: Every) -> None:
    document = data(
        "compare", *FEW, "--policies", "round_robin", "--arrivals", text, "--load", "0.5"
    )
    runs = replicate(
        partial(RoundRobin, [f"s{number}" for number in range(1, 11)]),
        law,
        Exponential(0.1),
        requests=2000,
        seeds=[2, 3],
    )
    assert document["policies"][0]["response"]["mean"]["value"] == runs.mean


def bounded() -> BoundedLoad[str]:
    return BoundedLoad(HashRing(["a", "b"]), 1.5)


@pytest.mark.parametrize(
    ("text", "law"), [("uniform:50", UniformKeys(50)), ("zipf:50:0.3", ZipfKeys(50, 0.3))]
)
def test_laws_of_keys(text: str, law: UniformKeys) -> None:
    document = data(
        *("compare", *FEW, "--servers", "a,b", "--load", "0.4", "--keys", text),
        *("--policies", "hash_ring,points=40,bounded_load,c=1.5,random"),
    )
    assert document["keys"] == text
    ring, limited, _ = document["policies"]
    for found, make in (
        (ring, partial(HashRing, ["a", "b"], points=40)),
        (limited, bounded),
    ):
        runs = replicate(
            make, Poisson(8.0), Exponential(0.1), requests=2000, seeds=[2, 3], keys=law
        )
        assert found["response"]["mean"]["value"] == runs.mean


def test_requests_that_take_too_long() -> None:
    document = data("compare", *FEW, "--policies", "random", "--timeout", "0.5")
    (found,) = document["policies"]
    assert 0 < found["failed"] < found["requests"]
    assert found["response"]["p99.9"]["value"] <= 0.5
    (found,) = data("compare", *FEW, "--policies", "random", "--timeout", "1e-7")["policies"]
    assert (found["failed"], found["response"]) == (found["requests"], None)
    assert found["reason"] == "too few requests were answered"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_can_be_compared(policy: str) -> None:
    document = data("compare", *FEW, "--servers", "a=2,b", "--load", "0.3", "--policies", policy)
    (found,) = document["policies"]
    assert found["policy"] == policy
    assert found["steady"]


def test_the_seed_determines_the_text() -> None:
    arguments = ("compare", *FEW, "--policies", "random,two_choices")
    first = text(*arguments)
    assert text(*arguments) == first != text(*arguments, "--seed", "2")


def test_runs_of_two_seeds_have_no_seed_in_common() -> None:
    """So a repetition with another seed is independent."""
    one, other = (
        data("compare", *FEW, "--policies", "random", "--seed", seed)["policies"][0]
        for seed in ("1", "2")
    )
    low, high = one["response"]["mean"]["value"], other["response"]["mean"]["value"]
    assert low != high


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--load", "1.2"), "'1.2'"),
        (("--load", "1"), "'1'"),
        (("--load", "0"), "'0'"),
        (("--load", "nan"), "'nan'"),
        (("--load=-0.5",), "'-0.5'"),
        (("--rate", "200"), "the load is 2"),
        (("--rate", "100"), "the load is 1"),
        (("--rate", "inf"), "'inf'"),
        (("--rate", "1e-9"), "rate"),
        (("--rate", "5", "--load", "0.5"), "--load"),
        (("--mean", "0"), "'0'"),
        (("--mean", "1e-8"), "1e-08"),
        (("--mean", "1e8"), "100000000"),
        (("--servers", "0"), "not 0"),
        (("--servers", "1000000"), "not 1000000"),
        (("--servers", "a=x"), "'x'"),
        (("--servers", "a=0,b=0"), "above 0"),
        (("--servers", "a=1e300,b"), "9e+300"),
        (("--servers", "a=5e-324", "--load", "1e-5"), "4.94066e-324"),
        (("--servers", "a,a"), "'a'"),
        (("--servers", ""), "no servers"),
        (("--policies", ""), "''"),
        (("--policies", "fastest"), "'fastest'"),
        (("--policies", "nginx:hash"), "'nginx:hash'"),
        (("--policies", "two_choices,choices=0"), "'0'"),
        (("--policies", "bounded_load,c=0.5"), "0.5"),
        (("--policies", "bounded_load,c=x"), "'x'"),
        (("--policies", "weighted_least_connections,rule=x"), "'x'"),
        (("--policies", "anchor,capacity=1"), "1"),
        (("--policies", "maglev,size=4"), "not 4"),
        (("--service", "gamma"), "'gamma'"),
        (("--service", "pareto"), "'pareto'"),
        (("--service", "pareto:1"), "not 1"),
        (("--service", "pareto:nan"), "'pareto:nan'"),
        (("--service", "constant:1"), "'constant:1'"),
        (("--service", "hyperexponential:0.5"), "0.5"),
        (("--service", "lognormal:-1"), "-1"),
        (("--arrivals", "bursty:0"), "not 0"),
        (("--arrivals", "bursty:1.5"), "1.5"),
        (("--arrivals", ""), "''"),
        (("--keys", "zipf:10"), "'zipf:10'"),
        (("--keys", "uniform:0"), "not 0"),
        (("--keys", "uniform:99999999999"), "99999999999"),
        (("--keys", "keys.txt"), "'keys.txt'"),
        (("--requests", "99"), "'99'"),
        (("--requests", "100000000000"), "'100000000000'"),
        (("--runs", "1"), "'1'"),
        (("--runs", "x"), "'x'"),
        (("--timeout", "0"), "'0'"),
        (("--timeout", "-1"), "-1"),
        (("more",), "more"),
    ],
)
def test_bad_comparisons(arguments: tuple[str, ...], named: str) -> None:
    assert named in bad("compare", *arguments)
