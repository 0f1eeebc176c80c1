"""A pool over PrefixAffinity picks as a slow search by its rules, after any history."""

from collections.abc import Sequence
from random import Random

import pytest

from balancers import Lease, NoBackendAvailable, Pool, Rendezvous
from balancers.hashing import PrefixAffinity, chain
from balancers.hashing.hashed_balancer import mix
from tests.depth import runs
from tests.hashing.test_prefix_caches import Model

BLOCK = 4


def key_of(words: Sequence[int]) -> bytes:
    """The key of a prompt with one word for each block."""
    return chain([word for word in words for _ in range(BLOCK)], block=BLOCK)


def digests(key: bytes) -> list[int]:
    return [int.from_bytes(key[at : at + 8], "little") for at in range(0, len(key), 8)]


class Plain:
    """The rules, as slow and plain as they are written on the page."""

    def __init__(self, capacity: int, shared: bool) -> None:
        self.capacity, self.shared = capacity, shared
        self.caches: dict[str, Model] = {}
        self.weights: dict[str, float] = {}
        self.flying: dict[int, tuple[str, int]] = {}
        self.before: dict[int, int] = {}

    def use(self, backend: str, key: bytes) -> int:
        blocks = digests(key)
        self.before.update(zip(blocks[1:], blocks, strict=False))
        return self.caches[backend].use(blocks)

    def forget(self, backend: str, gone: bytes) -> None:
        model = self.caches[backend]
        lost = {*digests(gone)} & {*model.blocks}

        def is_lost(block: int) -> bool:
            return block in lost or (block in self.before and is_lost(self.before[block]))

        model.blocks = [block for block in model.blocks if not is_lost(block)]

    def put(self, backend: str, weight: float) -> None:
        self.caches.setdefault(backend, Model(self.capacity))
        self.weights[backend] = weight

    def discard(self, backend: str) -> None:
        del self.caches[backend], self.weights[backend]
        self.flying = {n: each for n, each in self.flying.items() if each[0] != backend}

    def load(self, backend: str) -> int:
        return sum(tokens for name, tokens in self.flying.values() if name == backend)

    def match(self, backend: str, blocks: Sequence[int]) -> int:
        have = self.caches[backend].blocks
        return next((n for n, block in enumerate(blocks) if block not in have), len(blocks))

    def allowed(self, key: bytes, avoid: Sequence[str]) -> set[str]:
        """Return the backends that may be picked; more than one only for an empty key."""
        blocks = digests(key)
        among = [each for each, weight in self.weights.items() if weight and each not in avoid]
        matches = {each: self.match(each, blocks) for each in among}
        waiting = {each: round(self.load(each) / self.weights[each], 6) for each in among}
        costs = {each: waiting[each] + (len(blocks) - matches[each]) * BLOCK for each in among}
        least = min(costs.values())
        ties = {each for each, cost in costs.items() if cost == least}
        if not blocks:
            return ties
        longest = max(matches.values())
        new = longest * 4 <= len(blocks)
        if new:
            place = longest
        else:
            holders = [sum(m > n for m in matches.values()) for n in range(len(blocks))]
            place = sum(2 * count > len(among) for count in holders)
        ranking = Rendezvous({each: self.weights[each] for each in among})
        order = [*ranking.succession(mix(blocks[min(place, len(blocks) - 1)]))]
        owner = order[0]
        assumed = longest + (len(blocks) - longest) / 4 if new else 0
        assumed = len(blocks) if self.shared else assumed
        left = len(blocks) - max(assumed, matches[owner])
        if (new or self.shared) and waiting[owner] + left * BLOCK <= least:
            return {owner}
        return {next(each for each in order if each in ties)}


class Play:
    """The same random history for a pool and for the plain rules."""

    def __init__(self, count: int, shared: bool) -> None:
        self.rng = Random(count)
        self.names = [f"10.0.0.{number}:80" for number in range(count)]
        self.lb: PrefixAffinity[str] = PrefixAffinity(block=BLOCK, capacity=30, shared=shared)
        self.pool, self.plain = Pool(self.lb), Plain(30, shared)
        self.leases: dict[int, Lease[str]] = {}

    def step(self, now: int) -> None:
        action, backend = self.rng.random(), self.rng.choice(self.names)
        if backend not in self.plain.weights or action < 0.03:
            self.put(backend, now)
        elif action < 0.04 and len(self.plain.weights) > 1:
            self.pool.remove(backend, now)
            self.plain.discard(backend)
        elif action < 0.1:
            self.observe(backend)
        elif action < 0.6:
            self.acquire(now)
        elif self.leases:
            self.proceed(now)
        for each in self.plain.weights:
            assert self.lb.load_of(each) == self.plain.load(each)

    def put(self, backend: str, now: int) -> None:
        weight = self.rng.choice((0, 1, 1, 1, 2, 0.7))
        if backend in self.plain.weights:
            self.pool.set_weight(backend, weight, now)
        else:
            self.pool.add(backend, weight, now)
        self.plain.put(backend, weight)

    def key(self, words: int, longest: int) -> bytes:
        return key_of([self.rng.randrange(words) for _ in range(self.rng.randrange(longest))])

    def observe(self, backend: str) -> None:
        key = self.key(2, 9)
        if self.rng.random() < 0.5:
            self.lb.observe(backend, stored=key)
            self.plain.use(backend, key)
            return
        ids = [key[place : place + 8] for place in range(0, len(key), 8)]
        gone = b"".join(each for each in ids if self.rng.random() < 0.5)
        self.lb.observe(backend, removed=gone)
        self.plain.forget(backend, gone)

    def acquire(self, now: int) -> None:
        key = self.key(3, 12)
        avoid = self.rng.sample(self.names, self.rng.randrange(2))
        tokens = len(key) // 8 * BLOCK + 100 * now + 1  # no two are equal
        weights = self.plain.weights
        if not any(weight and each not in avoid for each, weight in weights.items()):
            with pytest.raises(NoBackendAvailable):
                self.pool.acquire(now, key, avoid=avoid, cost=tokens)
            return
        allowed = self.plain.allowed(key, avoid)
        lease = self.leases[now] = self.pool.acquire(now, key, avoid=avoid, cost=tokens)
        assert lease.backend in allowed
        assert len(allowed) == 1 or not key
        found = self.plain.use(lease.backend, key)
        self.plain.flying[now] = lease.backend, tokens - found * BLOCK

    def proceed(self, now: int) -> None:
        chosen = self.rng.choice([*self.leases])
        if self.rng.random() < 0.5:
            self.pool.release(self.leases.pop(chosen), now)
        else:
            self.pool.progress(self.leases[chosen], now, cost=0)
        self.plain.flying.pop(chosen, None)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [1, 3, 12])
def test_a_pool_picks_as_the_plain_rules(count: int, shared: bool) -> None:
    """Different costs, first tokens, ends, events of caches, and other members and weights."""
    play = Play(count, shared)
    for now in range(runs(6000)):
        play.step(now)
    for lease in play.leases.values():
        play.pool.release(lease, 1e9)
    assert {play.lb.load_of(each) for each in play.plain.weights} == {0}


@pytest.mark.parametrize("shared", [False, True])
def test_equal_costs_with_different_matches(shared: bool) -> None:
    """Loads are small multiples of a block, so many costs are equal."""
    rng = Random(8)
    for _ in range(runs(1500)):
        play = Play(rng.choice((2, 3, 10)), shared)
        for backend in play.names:
            play.pool.add(backend, now=0.0)
            play.plain.put(backend, 1)
            for _ in range(rng.randrange(3)):
                play.observe(backend)
            cost = BLOCK * rng.randrange(4)
            if cost:
                play.pool.acquire(0.0, prefer=backend, cost=cost)
                play.plain.flying[len(play.plain.flying)] = backend, cost
        for _ in range(4):
            key = play.key(2, 9)
            assert play.lb.pick(key) in play.plain.allowed(key, [])


def test_gateways_agree_on_a_new_prompt_if_the_load_of_its_owner_is_a_little_higher() -> None:
    """The owner counts as having a quarter of what no backend has, and not more."""
    names = [f"10.0.0.{number}:80" for number in range(5)]
    idle, busy = (PrefixAffinity(names, block=BLOCK) for _ in range(2))
    for word in range(50):
        key = key_of([word] * 16)  # 64 tokens
        owner = idle.pick(key)
        for tokens, same in ((1, True), (16, True), (17, False)):
            busy.started(owner, bound=True)
            busy.charged(owner, tokens)
            assert (busy.pick(key) == owner) is same
            busy.charged(owner, -tokens)
            busy.finished(owner)


@pytest.mark.parametrize(("weight", "tokens"), [(0.5, 3), (2, 9)])
def test_an_engine_that_has_a_prompt_is_picked_only_below_a_block_of_load(
    weight: float, tokens: int
) -> None:
    """The load is the tokens in flight, divided by the weight; the prompt has one block of 4."""
    lb = PrefixAffinity({"has": weight, "idle": 1}, block=BLOCK)
    key = key_of([1])
    for before, picked in ((tokens - 2, "has"), (tokens, "idle")):
        lb.observe("has", stored=key)
        lb.started("has", bound=True)
        lb.charged("has", before)
        assert lb.pick(key) == picked
        lb.charged("has", -before)
        lb.finished("has")
