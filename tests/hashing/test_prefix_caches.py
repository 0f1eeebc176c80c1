"""What is assumed to be in the caches of engines: a dict model, brute force, hostile sequences."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.hashing._caches import Caches
from tests.depth import runs


class Model:
    """One cache, as a list of blocks from the first to be evicted to the last."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.blocks: list[int] = []

    def use(self, prompt: Sequence[int]) -> int:
        found = next(
            (place for place, block in enumerate(prompt) if block not in self.blocks), len(prompt)
        )
        for block in reversed(prompt[: self.capacity]):
            if block in self.blocks:
                self.blocks.remove(block)
            self.blocks.append(block)
        del self.blocks[: max(0, len(self.blocks) - self.capacity)]
        return found

    def forget(self, gone: Sequence[int]) -> None:
        def lost(block: int) -> bool:
            return block in gone or (before(block) > 0 and lost(before(block)))

        self.blocks = [block for block in self.blocks if not lost(block)]


def prompt(words: Sequence[int]) -> tuple[int, ...]:
    """Return the blocks of words: each stands for all words up to it."""
    return tuple(accumulate(words, lambda before, word: before * 4 + word + 1, initial=0))[1:]


def before(block: int) -> int:
    return (block - 1) // 4


prompts = st.lists(st.integers(0, 2), max_size=7).map(prompt)
uses = st.tuples(st.just("use"), st.integers(0, 2), prompts)
losses = st.tuples(st.just("forget"), st.integers(0, 2), prompts)
clears = st.tuples(st.just("clear"), st.integers(0, 2), st.just(()))


def check(caches: Caches, models: list[Model], rng: Random) -> None:
    """Compare the caches with the models, and the matches with brute force."""
    for number, model in enumerate(models):
        assert caches.content(number) == model.blocks
        for block in model.blocks:
            assert before(block) in {0, *model.blocks}, "the block before it is gone"
            words = [block]
            while before(words[-1]):
                words.append(before(words[-1]))
            assert caches.prefix(number, block) == words[::-1]
    everything = {block for model in models for block in model.blocks}
    assert caches._holders.keys() == everything
    assert caches._before.keys() <= everything
    wanted = prompt([rng.randrange(3) for _ in range(rng.randrange(8))])
    among = rng.randrange(1, 8)
    matches = {
        number: sum(block in models[number].blocks for block in wanted)
        for number in range(3)
        if among >> number & 1
    }
    longest = max(matches.values())
    length, best = caches.deepest(wanted, among)
    assert length == longest
    reached = {longest}
    while True:
        holders = sum(1 << number for number, match in matches.items() if match >= length)
        assert best == holders
        assert length == max(match for match in matches.values() if match <= length)
        if best == among:
            break
        length, best = caches.wider(wanted, length, best, among)
        reached.add(length)
    assert reached == {*matches.values()}
    holders_of = [sum(match >= n for match in matches.values()) for n in range(len(wanted) + 1)]
    most = [n for n, holders in enumerate(holders_of) if 2 * holders > len(matches)]
    assert caches.common(wanted, among) == max(most)
    assert all(caches.match(number, wanted) == match for number, match in matches.items())


@given(
    st.integers(1, 9),
    st.lists(uses | losses | clears, max_size=25),
    st.randoms(use_true_random=False),
)
def test_caches_are_like_the_model(
    capacity: int, actions: list[tuple[str, int, tuple[int, ...]]], rng: Random
) -> None:
    caches, models = Caches(capacity), [Model(capacity) for _ in range(3)]
    for number in range(3):
        caches.add(number)
    for name, number, blocks in actions:
        if name == "use":
            assert caches.use(number, blocks) == models[number].use(blocks)
        elif name == "forget":
            gone = [block for block in blocks if rng.random() < 0.3]
            caches.forget(number, gone)
            models[number].forget(gone)
        else:
            caches.clear(number)
            models[number].blocks.clear()
        check(caches, models, rng)


def test_long_histories_are_like_the_model() -> None:
    """Prompts share beginnings, and caches overflow all the time."""
    rng = Random(5)
    caches, models = Caches(40), [Model(40) for _ in range(3)]
    for number in range(3):
        caches.add(number)
    for step in range(runs(4000)):
        blocks = prompt([rng.choice((0, 0, 1, 2)) for _ in range(rng.randrange(12))])
        number = rng.randrange(3)
        assert caches.use(number, blocks) == models[number].use(blocks)
        if step % 50 == 0:
            check(caches, models, rng)
            caches, kept = deepcopy(caches), caches
            kept.clear(0)  # a copy shares nothing


@pytest.mark.parametrize("length", [1, 5, 6, 50])
def test_a_prompt_that_is_longer_than_the_cache_leaves_its_beginning(length: int) -> None:
    caches = Caches(5)
    caches.add(0)
    assert caches.use(0, range(1, length + 1)) == 0
    kept = min(5, length)
    assert caches.content(0) == [*range(kept, 0, -1)]
    assert caches.use(0, range(1, length + 1)) == kept


def test_evictions_by_turns_leave_no_block_without_the_one_before_it() -> None:
    """Two prompts with one beginning are used in turns, and a third one evicts their ends."""
    caches = Caches(7)
    caches.add(0)
    common = [1, 2, 3]
    for step in range(30):
        caches.use(0, [*common, 10, 11])
        caches.use(0, [*common, 20, 21])
        caches.use(0, [30 + step, 100 + step])
        content = caches.content(0)
        assert len(content) == 7
        for prefix in ([*common, 10, 11], [*common, 20, 21], [30 + step, 100 + step]):
            have = [block in content for block in prefix]
            assert have == sorted(have, reverse=True)


def test_digests_that_stand_for_several_prefixes_do_no_harm() -> None:
    """A caller may pass ids that are no prefixes.  Matches are then wrong, but nothing fails."""
    rng = Random(3)
    caches = Caches(12)
    caches.add(0)
    caches.add(1)
    for _ in range(runs(10_000)):
        blocks = tuple(rng.randrange(9) for _ in range(rng.randrange(12)))
        number = rng.randrange(2)
        caches.use(number, blocks)
        if rng.random() < 0.2:
            caches.forget(number, blocks[:2])
        if blocks:
            caches.prefix(number, blocks[0])
        length, best = caches.deepest(blocks, 3)
        if best != 3 and length:
            assert caches.wider(blocks, length, best, 3)[0] < length
        assert 0 <= caches.match(number, blocks) <= len(blocks)
        content = [set(caches.content(0)), set(caches.content(1))]
        assert max(map(len, content)) <= 12
        assert caches._holders == {
            block: (block in content[0]) + 2 * (block in content[1])
            for block in content[0] | content[1]
        }
