"""What is assumed to be in the caches of engines: a dict model, brute force, hostile sequences."""

import pickle
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import cache
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.hashing._caches import Caches
from balancers.hashing._matches import common, match_of
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


def key_of(blocks: Iterable[int]) -> bytes:
    return same_key((*blocks,))


@cache
def same_key(blocks: tuple[int, ...]) -> bytes:
    """Return the same object for the same blocks, because the path of the last key is kept."""
    return b"".join(block.to_bytes(8, "little") for block in blocks)


def blocks_of(key: bytes) -> list[int]:
    return [*memoryview(key).cast("Q")]


def content(caches: Caches, number: int) -> list[int]:
    """Return the blocks of a cache, from the first to be evicted to the last."""
    found: list[int] = []
    for time, bottom in caches._bottoms[number].items():
        node = bottom
        while node.used.get(number) == time:
            found += reversed(blocks_of(node.data[: node.amount(number)]))
            node = node.parent
    return found


def check_tree(caches: Caches) -> None:
    """Check what is always true of the nodes."""
    sizes = dict.fromkeys(caches._sizes, 0)
    for node in caches._nodes():
        assert node.parent.children[node.data[:8]] is node
        assert node.holders, "blocks that no cache has"
        assert len(node.data) % 8 == 0
        have = {number for number in sizes if node.holders >> number & 1}
        assert node.used.keys() == have | node.parts.keys()
        assert not have & node.parts.keys()
        assert all(0 < part < len(node.data) for part in node.parts.values())
        assert node.holders.bit_length() <= max(sizes) + 1
        if node.parent is not caches._root:
            for number, time in node.used.items():
                assert node.parent.holders >> number & 1, "the node before it is not complete"
                assert node.parent.used[number] >= time
        for number in sizes:
            sizes[number] += node.amount(number)
    assert sizes == caches._sizes
    nodes = {*caches._nodes()}
    for block, node in (caches._places or {}).items():
        assert node in nodes
        assert block in blocks_of(node.data)
    for number, size in sizes.items():
        assert size <= caches._capacity
        assert len(content(caches, number)) * 8 == size
        assert [*caches._bottoms[number]] == sorted(caches._bottoms[number])


def check(caches: Caches, models: list[Model], rng: Random) -> None:
    """Compare the caches with the models, and the matches with brute force."""
    check_tree(caches)
    for number, model in enumerate(models):
        assert content(caches, number) == model.blocks
        for block in model.blocks if rng.random() < 0.2 else ():
            assert before(block) in {0, *model.blocks}, "the block before it is gone"
            words = [block]
            while before(words[-1]):
                words.append(before(words[-1]))
            assert caches.prefix(number, key_of([block])) == key_of(words[::-1])
        assert caches.prefix(number, key_of([999_999])) == b""
    wanted = prompt([rng.randrange(3) for _ in range(rng.randrange(8))])
    key = key_of(wanted)
    among = rng.randrange(1, 8)
    have = {
        number: 8 * sum(block in models[number].blocks for block in wanted)
        for number in range(3)
        if among >> number & 1
    }
    lengths = sorted({*have.values()})
    expected = [(n, sum(1 << each for each in have if have[each] >= n)) for n in lengths]
    assert caches.matches(key, among) == expected
    owners = [number for number, match in have.items() if key and match == len(key)]
    assert caches.only_holder(key, among) == (owners[0] if len(owners) == 1 else -1)
    most = [n for n in (0, *lengths) if 2 * sum(m >= n for m in have.values()) > len(have)]
    assert common(expected) == max(most)
    for number, match in have.items():
        assert caches.match(number, key) == match_of(number, expected) == match


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
            assert caches.use(number, key_of(blocks)) == 8 * models[number].use(blocks)
        elif name == "forget":
            gone = [block for block in blocks if rng.random() < 0.3]
            caches.forget(number, key_of(gone))
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
        assert caches.use(number, key_of(blocks)) == 8 * models[number].use(blocks)
        if step % 50 == 0:
            check(caches, models, rng)
            caches, kept = deepcopy(caches), caches
            kept.clear(0)  # a copy shares nothing


@pytest.mark.parametrize("length", [1, 5, 6, 50])
def test_a_prompt_that_is_longer_than_the_cache_leaves_its_beginning(length: int) -> None:
    caches = Caches(5)
    caches.add(0)
    assert caches.use(0, key_of(range(1, length + 1))) == 0
    kept = min(5, length)
    assert content(caches, 0) == [*range(kept, 0, -1)]
    assert caches.use(0, key_of(range(1, length + 1))) == 8 * kept


def test_evictions_by_turns_leave_no_block_without_the_one_before_it() -> None:
    """Two prompts with one beginning are used in turns, and a third one evicts their ends."""
    caches = Caches(7)
    caches.add(0)
    first = [1, 2, 3]
    for step in range(30):
        caches.use(0, key_of([*first, 10, 11]))
        caches.use(0, key_of([*first, 20, 21]))
        caches.use(0, key_of([30 + step, 100 + step]))
        left = content(caches, 0)
        assert len(left) == 7
        for prefix in ([*first, 10, 11], [*first, 20, 21], [30 + step, 100 + step]):
            have = [block in left for block in prefix]
            assert have == sorted(have, reverse=True)


def test_blocks_that_stand_for_several_prefixes_do_no_harm() -> None:
    """A caller may pass ids that are no prefixes, also several times.  Matches are those of paths.

    Events of such blocks may be about another path, but nothing fails or grows.
    """
    rng = Random(3)
    caches = Caches(12)
    caches.add(0)
    caches.add(1)
    for _ in range(runs(2_000)):
        key = key_of(rng.randrange(3) for _ in range(rng.randrange(12)))
        number = rng.randrange(2)
        have = caches.match(number, key)
        assert caches.use(number, key) == have
        assert caches.match(number, key) == len(key)
        if rng.random() < 0.2:
            caches.forget(number, key[:16])
        if key:
            caches.prefix(number, key[:8])
        caches.matches(key, 3)
        check_tree(caches)
        assert {*(caches._places or ())} <= {*content(caches, 0), *content(caches, 1)}


@pytest.mark.parametrize("change", ["clear", "forget", "use", "evict"])
def test_the_kept_path_of_a_prompt_is_not_used_after_a_change(change: str) -> None:
    caches = Caches(20)
    caches.add(0)
    key = key_of(range(10))
    caches.use(0, key)
    assert caches.match(0, key) == 80
    match change:
        case "clear":
            caches.clear(0)
        case "forget":
            caches.forget(0, key[:8])
        case "use":
            caches.use(0, key_of([*range(5), 99]))
        case _:
            caches.use(0, key_of(range(100, 120)))
    assert caches.match(0, key) == (80 if change == "use" else 0)
    caches.use(0, key)
    check_tree(caches)
    assert caches.match(0, key) == 80


def test_a_block_after_which_nothing_was_stored_is_not_used() -> None:
    caches = Caches(2)
    caches.add(0)
    caches.use(0, key_of([1]))
    caches.use(0, key_of([2]))
    caches.report(0, b"", key_of([1]), b"", cleared=False)
    caches.use(0, key_of([3]))
    assert content(caches, 0) == [2, 3]


def test_a_session_on_one_engine_is_one_node() -> None:
    """So a request of a long session takes as many steps as one of a short session."""
    caches = Caches(1000)
    caches.add(0)
    for length in range(1, 200):
        caches.use(0, key_of(range(length)))
    assert len(caches._nodes()) == 1


def test_nodes_are_as_many_as_different_prompts() -> None:
    """Also when the ends of prompts are evicted a few blocks at a time, and others have them."""
    caches = Caches(100)
    caches.add(0)
    caches.add(1)
    caches.use(0, key_of(range(100)))
    caches.use(1, key_of(range(100)))
    for number in range(90):
        caches.use(0, key_of([1000 + number]))
    check_tree(caches)
    assert len(caches._nodes()) == 91
    assert caches.matches(key_of(range(100)), 3) == [(80, 3), (800, 2)]
    assert caches.matches(key_of(range(5)), 3) == [(40, 3)], "less than both have"


def test_a_tree_that_is_deeper_than_the_stack_is_copied_and_pickled() -> None:
    caches = Caches(5000)
    caches.add(0)
    for length in range(1200, 0, -1):
        caches.use(0, key_of(range(length)))
    assert len(caches._nodes()) == 1200
    for clone in (deepcopy(caches), pickle.loads(pickle.dumps(caches))):  # noqa: S301 - a test
        assert content(clone, 0) == content(caches, 0)
        clone.clear(0)
    assert len(content(caches, 0)) == 1200
