"""Engines of language models: exact times, equality with a slow engine, limits, and faults."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import LeastConnections, Pool, RoundRobin
from balancers.algorithms import LeastLoaded
from balancers.errors import InvalidSetting
from balancers.loads import InFlightCost
from balancers.pool import Lease
from balancers.simulation import (
    Constant,
    Crash,
    Errors,
    Every,
    Fault,
    Freeze,
    LLMEngine,
    Prompt,
    RecordedKeys,
    RecordedPrompts,
    RecordedTimes,
    Retries,
    Server,
    Simulation,
    Slow,
    simulate,
)
from tests.depth import runs
from tests.simulation.plain_engine import PlainEngine

NAMES = ["b", 1, ("a", 2)]
"""Backends that cannot be ordered."""
TICK = 2.0**-30


class Seen:
    """What the client of one request has seen."""

    def __init__(self) -> None:
        self.backend: Any = None
        self.sent = -1.0
        self.first: float | None = None
        self.end: float | None = None
        self.ok: Any = None
        self.costs: list[int | None] = []


class Logged(Pool[Any]):
    """A pool that notes what is reported to it.  The key of a request is its number."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.seen: dict[Any, Seen] = {}

    def acquire(self, now: float, key: Any = None, *args: Any, **settings: Any) -> Lease[Any]:
        lease = super().acquire(now, key, *args, **settings)
        seen = self.seen.setdefault(key, Seen())
        seen.backend, seen.sent = lease.backend, now
        seen.costs.append(settings.get("cost"))
        return lease

    def progress(self, lease: Lease[Any], now: float, cost: int | None = None) -> None:
        super().progress(lease, now, cost)
        seen = self.seen[lease.key]
        assert seen.first is None
        seen.first = now
        seen.costs.append(cost)

    def release(
        self, lease: Lease[Any], now: float, ok: Any = True, *args: Any, **settings: Any
    ) -> None:
        super().release(lease, now, ok, *args, **settings)
        seen = self.seen[lease.key]
        seen.end, seen.ok = now, ok
        if seen.first is not None:
            assert settings["first"] == seen.first - seen.sent


def run(
    prompts: Sequence[Prompt],
    times: Sequence[float],
    engine: LLMEngine,
    backends: Sequence[Any] = ("a",),
    block: int = 4,
    **settings: Any,
) -> tuple[Simulation[Any], dict[int, Seen]]:
    pool = Logged(RoundRobin(backends))
    result = simulate(
        pool,
        RecordedTimes(times),
        RecordedPrompts(prompts, block=block),
        requests=len(prompts),
        seed=1,
        servers=engine,
        keys=RecordedKeys(range(len(prompts))),
        warm_up=0.0,
        keep=True,
        **settings,
    )
    return result, pool.seen


@pytest.mark.parametrize(
    ("tokens", "steps"), [(1, 1), (8191, 1), (8192, 1), (8193, 2), (50_000, 7)]
)
@pytest.mark.parametrize("output", [1, 2, 300])
def test_a_lone_request_takes_exactly_what_the_formula_says(
    tokens: int, steps: int, output: int
) -> None:
    engine = LLMEngine()
    result, _ = run([Prompt(tokens, output)], [0.25], engine, block=512)
    assert result.tokens is not None
    first = steps * engine.step + tokens * engine.per_token
    assert result.tokens.first.mean == pytest.approx(first, abs=steps * TICK)
    between = engine.step + engine.per_sequence
    if output == 1:
        assert result.tokens.output.count == 0
        assert result.response == result.tokens.first
    else:
        assert result.tokens.output.mean == pytest.approx(between, abs=TICK)
        whole = first + (output - 1) * between
        assert result.response.mean == pytest.approx(whole, abs=(steps + output) * TICK)


def test_two_requests_share_the_steps() -> None:
    """Worked out by hand, with steps of 1 s, 0.25 s for a sequence and 0.125 s for a token."""
    engine = LLMEngine(1.0, 0.25, 0.125, sequences=2, kv_tokens=100, batch_tokens=8)
    _, seen = run([Prompt(12, 5), Prompt(4, 2), Prompt(1, 1)], [0.0, 1.0, 1.0], engine)
    # the first prompt: a step of 8 tokens until 2 s, and one of 4 until 3.5 s
    # the second one, beside one that decodes: a step of 4 tokens, 3.5 s to 5.25 s
    # both decode until 6.75 s, the second one has ended; then the third one until 8.125 s
    # the first one has its tokens at 3.5, 5.25, 6.75, 8.125 and 9.375 s
    assert [seen[number].first for number in range(3)] == [3.5, 5.25, 8.125]
    assert [seen[number].end for number in range(3)] == [9.375, 6.75, 8.125]


def test_steps_become_shorter_after_a_request_was_given_up() -> None:
    """Worked out by hand: the step in progress continues, and the next one has one request less."""
    engine = LLMEngine(1.0, 0.25, 0.125, sequences=4, kv_tokens=200, batch_tokens=8)
    _, seen = run([Prompt(4, 100), Prompt(4, 3)], [0.0, 2.0], engine, timeout=5.5)
    # first tokens: 1.5 s, and after a step of 1.75 s from 2.75 s on; both decode until 6 s
    assert [seen[number].first for number in range(2)] == [1.5, 4.5]
    assert [seen[number].end for number in range(2)] == [5.5, 7.25]
    assert [seen[number].ok for number in range(2)] == [False, True]


def test_costs_are_the_tokens_of_the_prompt_until_the_first_token() -> None:
    pool = Logged(LeastConnections(["a"]))
    prompts = RecordedPrompts([Prompt(12, 5), Prompt(4, 1)], block=4)
    keys = RecordedKeys([0, 1])
    simulate(
        pool, Every(1.0), prompts, requests=2, seed=1, servers=LLMEngine(), keys=keys, network=0.5
    )
    assert [pool.seen[number].costs for number in range(2)] == [[12, 0], [4, 0]]
    first = pool.seen[0]
    assert first.first is not None
    assert first.first == pytest.approx(1.5 + 0.015 + 12 * 63e-6, abs=TICK)
    assert first.end == pytest.approx(first.first + 4 * 0.0152, abs=5 * TICK)


@pytest.mark.parametrize("output", [1, 100])
def test_a_first_token_that_arrives_after_the_time_out_is_ignored(output: int) -> None:
    result, seen = run([Prompt(4, output)], [0.0], LLMEngine(), network=2.0, timeout=1.5)
    assert (seen[0].first, seen[0].end, seen[0].ok) == (None, 1.5, False)
    assert result.failed == 1
    assert result.tokens is not None
    assert (result.tokens.first.count, result.tokens.computed) == (0, {"a": 4})


class Case(NamedTuple):
    engine: LLMEngine
    prompts: list[Prompt]
    times: list[float]
    faults: list[Fault]
    timeout: float | None
    backends: int


QUARTERS = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.7, 1.0, 2.5])


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """A prompt in blocks of 4 tokens: a shared beginning of one of three texts, then its own."""
    tokens, output = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    blocks = draw(st.integers(0, -(-tokens // 4)))
    text, shared = draw(st.integers(0, 2)), draw(st.integers(0, 6))
    own = draw(st.integers(10, 13))
    return Prompt(
        tokens, output, tuple(100 * (text if n < shared else own) + n for n in range(blocks))
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sequences = draw(st.integers(1, 4))
    engine = LLMEngine(
        step=draw(st.sampled_from([0.25, 0.3])),
        per_sequence=draw(st.sampled_from([0.0, 0.25, 0.07])),
        per_token=draw(st.sampled_from([0.0, 0.125, 0.01])),
        sequences=sequences,
        kv_tokens=draw(st.integers(20, 120)),
        batch_tokens=draw(st.integers(sequences, 30)),
        cache_tokens=draw(st.integers(0, 60)),
    )
    asked = draw(st.lists(prompts(), min_size=1, max_size=20))
    times, now = list[float](), 0.0
    for _ in asked:
        now += draw(QUARTERS)
        times.append(now)
    begin, length = draw(st.integers(0, 40)) / 4, draw(st.integers(1, 20)) / 4
    kind = draw(st.sampled_from(["", "", "crash", "freeze", "slow", "both"]))
    faults: list[Fault] = []
    if kind == "crash":
        faults = [Crash("b", begin, begin + length)]
    if kind in ("freeze", "both"):
        faults = [Freeze("b", begin, begin + length)]
    if kind in ("slow", "both"):
        faults.append(Slow("b", begin + 0.5, begin + 5.0, 3.0))
    timeout = draw(st.sampled_from([None, None, 0.75, 4.0]))
    return Case(engine, asked, times, faults, timeout, draw(st.integers(1, 3)))


def plain_times(case: Case, seen: dict[int, Seen], backend: Any) -> PlainEngine:
    """Run the slow engine of one backend: steps, time-outs, faults, arrivals at each instant."""
    plain = PlainEngine(case.engine, 4, dict(enumerate(case.prompts)))
    mine = [number for number, each in seen.items() if each.backend == backend]
    calls: list[tuple[float, int, int, str, Any]] = []
    for number in mine:
        sent = seen[number].sent
        calls.append((sent, 3, number, "arrive", number))
        if case.timeout is not None:
            when = round((sent + case.timeout) * 2**30) / 2**30
            calls.append((when, 1, number, "cancel", number))
    for place, fault in enumerate(case.faults):
        if fault.backend == backend:
            calls.append((fault.start, 2, place, "begin", fault))
            calls.append((fault.end, 2, place + 10, "end", fault))
    for now, _, _, what, about in sorted(calls, key=lambda call: call[:3]):
        plain.advance(now)
        plain.apply(what, about, now)
    plain.advance(1e9)
    return plain


@settings(max_examples=runs(800), deadline=None)
@given(cases())
def test_the_engine_equals_a_slow_one(case: Case) -> None:
    """First tokens, ends and hits are the same, bit for bit, whatever is cancelled or fails."""
    backends = ["b", *NAMES[1 : case.backends]]
    result, seen = run(
        case.prompts, case.times, case.engine, backends, faults=case.faults, timeout=case.timeout
    )
    hits = 0
    for backend in backends:
        plain = plain_times(case, seen, backend)
        hits += sum(plain.hits.values())
        for number, each in seen.items():
            if each.backend == backend:
                assert each.first == plain.first.get(number)
                assert each.ok == (number in plain.ends)
                if each.ok:
                    assert each.end == plain.ends[number]
    assert result.tokens is not None
    assert result.tokens.hits == hits
    assert result.answered + result.failed == len(case.prompts)  # nothing is lost


@settings(max_examples=runs(300), deadline=None)
@given(cases())
def test_limits_and_the_order_of_prompts(case: Case) -> None:
    """No more sequences, tokens or room than allowed, and first tokens in order of arrival."""
    engine = case.engine
    _, seen = run(case.prompts, case.times, engine)
    served = {number: each for number, each in seen.items() if each.ok}
    assert {n for n in seen if n not in served} == {
        n for n, p in enumerate(case.prompts) if p.tokens + p.output > engine.kv_tokens
    }
    firsts = [each.first for each in served.values() if each.first is not None]
    assert firsts == sorted(firsts)
    assert len(firsts) == len(served) == len({*firsts})  # one prompt after the other
    for moment in firsts:  # all that decode just after this moment
        at = [n for n, e in served.items() if e.first and e.end and e.first <= moment < e.end]
        assert len(at) <= engine.sequences
        used = sum(case.prompts[n].tokens + case.prompts[n].output for n in at)
        assert used <= engine.kv_tokens
    for (_, before), (number, each) in pairwise(served.items()):
        assert each.first is not None
        assert before.first is not None
        computed = max(1, case.prompts[number].tokens - 4 * len(case.prompts[number].blocks))
        steps = -(-computed // engine.batch_tokens)
        begun = max(before.first, each.sent)
        least = steps * engine.step + computed * engine.per_token
        assert each.first - begun >= least - steps * TICK


def test_a_prefix_is_computed_once_and_a_crash_forgets_it() -> None:
    asked = [Prompt(16, 1, (1, 2, 3, 4))] * 3
    engine = LLMEngine()
    result, seen = run(asked, [0.0, 1.0, 2.0], engine)
    assert result.tokens is not None
    assert (result.tokens.hits, result.tokens.computed) == (8, {"a": 18})
    assert seen[1].first == pytest.approx(1.0 + 0.015 + 63e-6, abs=TICK)
    crash = [Crash("a", 0.5, 0.75)]
    result, _ = run(asked, [0.0, 1.0, 2.0], engine, faults=crash)
    assert result.tokens is not None
    assert (result.tokens.hits, result.tokens.computed) == (4, {"a": 33})


def test_the_ends_of_prompts_are_evicted_first() -> None:
    """Room for three blocks: of two prompts that share their first block, the older end goes."""
    asked = [Prompt(12, 1, (1, 2, 3)), Prompt(8, 1, (1, 9)), Prompt(12, 1, (1, 2, 3))]
    result, _ = run(asked, [0.0, 1.0, 2.0], LLMEngine(cache_tokens=12))
    assert result.tokens is not None
    assert (result.tokens.hits, result.tokens.computed) == (3, {"a": 12 + 4 + 4})


def test_the_blocks_that_were_used_least_recently_are_evicted() -> None:
    """Room for two blocks: the first prompt comes again, and so the second one is evicted."""
    asked = [Prompt(4, 1, (block,)) for block in (1, 2, 1, 3, 1, 2)]
    result, seen = run(asked, [float(n) for n in range(6)], LLMEngine(cache_tokens=8))
    assert result.tokens is not None
    assert result.tokens.hits == 2
    for number, computed in enumerate([4, 4, 1, 4, 1, 4]):
        assert seen[number].first == pytest.approx(number + 0.015 + computed * 63e-6, abs=TICK)


def test_the_busiest_engine_is_measured_in_requests() -> None:
    result, _ = run([Prompt(4, 1)] * 7, [float(n) for n in range(7)], LLMEngine(), ["a", "b", "c"])
    assert result.tokens is not None
    assert result.tokens.busiest == 9 / 7


def test_a_retry_goes_elsewhere_and_first_tokens_count_from_the_arrival() -> None:
    pool = Logged(RoundRobin(["a", "b"]))
    result = simulate(
        pool,
        RecordedTimes([1.0]),
        RecordedPrompts([Prompt(100, 3)]),
        requests=1,
        seed=1,
        servers=LLMEngine(),
        keys=RecordedKeys([0]),
        warm_up=0.0,
        retries=Retries(tries=2, backoff=2.0),
        faults=[Crash("a", 0.0, 9.0)],
    )
    assert pool.seen[0].backend == "b"
    assert pool.seen[0].costs == [100, 100, 0]
    assert result.tokens is not None
    assert result.tokens.first.mean == pytest.approx(2.0 + 0.015 + 100 * 63e-6, abs=2 * TICK)
    assert result.tokens.computed == {"a": 0, "b": 100}


def test_the_warm_up_is_not_counted() -> None:
    prompts_of_one = [Prompt(512, 2, (1,))] * 4
    pool = Pool(RoundRobin(["a"]))
    result = simulate(
        pool,
        Every(9.0),
        RecordedPrompts(prompts_of_one),
        requests=4,
        seed=1,
        servers=LLMEngine(),
        warm_up=0.5,
    )
    assert result.tokens is not None
    assert (result.tokens.first.count, result.tokens.output.count) == (2, 2)
    assert (result.tokens.hits, result.tokens.blocks, result.tokens.computed) == (2, 2, {"a": 2})
    assert result.servers["a"].utilisation == pytest.approx(2 * 0.030263 / 9, rel=0.01)


def test_two_gateways_share_the_engines() -> None:
    rng = Random(1)
    asked = [Prompt(rng.randrange(1, 9000), rng.randrange(1, 50)) for _ in range(400)]
    pools = [Pool(LeastConnections(["a", "b"])), Pool(LeastConnections(["a", "b"]))]
    result = simulate(
        pools, Every(0.5), RecordedPrompts(asked), requests=400, seed=1, servers=LLMEngine()
    )
    assert result.answered == 300
    assert all(pool.snapshot().in_flight == 0 for pool in pools)
    assert result.tokens is not None
    assert sum(result.tokens.computed.values()) == sum(each.tokens for each in asked[100:])


def test_engines_differ_and_join_during_the_run() -> None:
    fast, slow = LLMEngine(per_token=1e-6), LLMEngine(per_token=1e-3, cache_tokens=0)
    pool = Pool(LeastConnections(["slow"]))
    asked = [Prompt(1000, 2, (1, 2))] * 20
    result = simulate(
        pool,
        Every(5.0),
        RecordedPrompts(asked),
        requests=20,
        seed=1,
        servers={"slow": slow, "fast": fast},
        warm_up=0.0,
        script=[(52.0, lambda now: pool.update({"fast": 1}, now))],
    )
    assert result.tokens is not None
    assert result.tokens.computed == {"slow": 10_000, "fast": 1000 + 9}
    assert result.tokens.hits == 2 * 9
    assert result.tokens.first.maximum == pytest.approx(1.015, abs=2 * TICK)
    assert result.tokens.first.minimum == pytest.approx(0.015 + 1e-6, abs=2 * TICK)


def test_every_cost_is_given_back() -> None:
    """After time-outs, a crash and errors, nothing is left in flight."""
    load = InFlightCost[str]()
    pool = Pool(LeastLoaded(["a", "b"], load=load))
    rng = Random(2)
    asked = [Prompt(rng.randrange(1, 20_000), rng.randrange(1, 150)) for _ in range(300)]
    result = simulate(
        pool,
        Every(1.0),
        RecordedPrompts(asked),
        requests=300,
        seed=1,
        servers=LLMEngine(),
        network=0.1,
        timeout=3.0,
        retries=Retries(tries=2, deadline=5.0),
        faults=[Crash("a", 20.0, 40.0), Errors("b", 50.0, 80.0, 0.2)],
    )
    assert min(result.answered, result.failed) > 20
    assert pool.snapshot().in_flight == 0
    assert [load.value(backend, 1e6) for backend in "ab"] == [0, 0]


def test_results_are_equal_and_digests_see_tokens() -> None:
    asked = [Prompt(100 * n, n, (n,)) for n in range(1, 9)]
    one, _ = run(asked, [0.1 * n for n in range(8)], LLMEngine(), block=512)
    same, _ = run(asked, [0.1 * n for n in range(8)], LLMEngine(), block=512)
    other, _ = run(asked, [0.1 * n for n in range(8)], LLMEngine(per_token=1e-4), block=512)
    assert one == same
    assert one.tokens != other.tokens
    assert one != other


@pytest.mark.parametrize(
    "settings",
    [
        {"step": 0.0},
        {"step": float("nan")},
        {"step": 1e9},
        {"per_sequence": -1.0},
        {"per_token": float("inf")},
        {"per_token": "1"},
        {"sequences": 0},
        {"sequences": True},
        {"kv_tokens": 0},
        {"kv_tokens": 1.0},
        {"batch_tokens": 255},
        {"batch_tokens": 0},
        {"cache_tokens": -1},
    ],
)
def test_wrong_engines_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(settings))):
        LLMEngine(**settings)


def test_engines_and_prompts_belong_together() -> None:
    asked = RecordedPrompts([Prompt(1, 1)])
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(TypeError, match="must be LLMEngine"):
        simulate(pool, Every(1.0), asked, requests=1, seed=1)
    with pytest.raises(TypeError, match="must be Server"):
        simulate(pool, Every(1.0), Constant(1.0), requests=1, seed=1, servers=LLMEngine())
    with pytest.raises(TypeError, match="must be LLMEngine"):
        simulate(pool, Every(1.0), asked, requests=1, seed=1, servers={"a": Server()})
    with pytest.raises(TypeError, match="need a Pool"):
        simulate(RoundRobin(["a"]), Every(1.0), asked, requests=1, seed=1, servers=LLMEngine())
    with pytest.raises(InvalidSetting, match="1 values for 2 requests"):
        simulate(pool, Every(1.0), asked, requests=2, seed=1, servers=LLMEngine())
    assert pool.snapshot().in_flight == 0
