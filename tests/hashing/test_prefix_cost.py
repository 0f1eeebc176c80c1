"""Cost of prefix affinity without a clock: executed lines of a request, and of a search."""

import tracemalloc
from random import Random

import pytest

from balancers.hashing import PrefixAffinity
from balancers.hashing._caches import Caches
from tests.work import work_of


def lines_of_requests(blocks: int, new: bool) -> int:
    """Return the lines of 50 requests to full caches.  The first two blocks are the same."""
    rng = Random(1)
    lb: PrefixAffinity[int] = PrefixAffinity(range(10), capacity=4 * blocks)
    rest = [rng.randbytes(8 * (blocks - 2)) for _ in range(200)]

    def request(number: int) -> None:
        key = bytes(16) + rest[number if new else number % 5]
        backend = lb.pick(key)
        lb.started(backend)
        lb.charged(backend, 16 * blocks)
        lb.charged(backend, -16 * blocks)
        lb.finished(backend)

    def requests(start: int, end: int) -> None:
        for number in range(start, end):
            request(number)

    requests(0, 150)
    return work_of(lambda: requests(150, 200)).lines


@pytest.mark.parametrize("new", [False, True])
def test_long_prompts_take_no_more_steps_than_short_ones(new: bool) -> None:
    short, long = (lines_of_requests(blocks, new) for blocks in (8, 512))
    assert long <= 1.1 * short


def test_caches_with_different_parts_of_a_prompt_are_searched_in_one_pass() -> None:
    """Each cache has evicted another number of blocks of a popular prompt."""
    prompt = Random(0).randbytes(8 * 500)

    def search(count: int) -> int:
        caches = Caches(500)
        for number in range(count):
            caches.add(number)
            caches.use(number, prompt)
        for number in range(1, count):
            caches.use(number, Random(number).randbytes(8 * number))
        among = (1 << count) - 1
        lines = work_of(lambda: caches.matches(prompt, among)).lines
        assert caches.matches(prompt, among) == [
            (8 * (500 - number), (1 << number + 1) - 1) for number in reversed(range(count))
        ]
        return lines

    assert search(400) <= 11 * search(40)


def test_the_memory_of_blocks_is_as_the_page_says() -> None:
    """A prompt takes 8 bytes per block and about 650 more, and an index 80 bytes per block."""
    rng, prompts, blocks = Random(1), 400, 100
    lb: PrefixAffinity[int] = PrefixAffinity([0], capacity=prompts * blocks)
    tracemalloc.start()
    try:
        for _ in range(prompts):
            lb.pick(rng.randbytes(8 * blocks))
            lb.started(0)
            lb.finished(0)
        of_prompts = tracemalloc.get_traced_memory()[0]
        lb.observe(0, removed=bytes(8))
        of_index = tracemalloc.get_traced_memory()[0] - of_prompts
    finally:
        tracemalloc.stop()
    assert 550 < of_prompts / prompts - 8 * blocks < 750
    assert 50 < of_index / (prompts * blocks) < 110
