"""The distribution of load over priorities: the examples of Envoy, and general properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.interop.envoy import Health, loads

HEALTH = st.integers(0, 9).flatmap(
    lambda hosts: st.integers(0, hosts).flatmap(
        lambda healthy: st.builds(
            Health, st.just(hosts), st.just(healthy), st.integers(0, hosts - healthy)
        )
    )
)
DIGESTS = st.integers(0, (1 << 64) - 1)


@given(st.lists(HEALTH, min_size=1, max_size=4), st.sampled_from([0, 30, 50, 100]), DIGESTS)
def test_loads_add_up_to_a_hundred_percent_and_prefer_the_first_priorities(
    health: list[Health], threshold: int, digest: int
) -> None:
    result = loads(health, healthy_panic_threshold=threshold)
    assert sum(result.healthy) + sum(result.degraded) == 100
    priority = result.priority_of(digest)
    parts = [*result.healthy, *result.degraded]
    flat = [place for place, part in enumerate(parts) for _ in range(part)]
    assert priority == flat[digest % 100] % len(health)
    percents = [140 * each.healthy // each.hosts if each.hosts else 0 for each in health]
    degraded = [140 * each.degraded // each.hosts if each.hosts else 0 for each in health]
    if sum(min(100, each) for each in (*percents, *degraded)) >= 100:
        assert not any(result.panic)
        left = 100
        for part, percent in zip(result.healthy, percents, strict=True):
            assert part >= min(left, percent, 100)
            left -= part
    elif threshold:
        for panic, each in zip(result.panic, health, strict=True):
            usable = 100 * (each.healthy + each.degraded)
            assert panic == (not each.hosts or usable < threshold * each.hosts)
    else:
        assert not any(result.panic)


@pytest.mark.parametrize(
    ("healthy", "expected"),
    [
        ((100, 100), (100, 0)),
        ((72, 72), (100, 0)),
        ((71, 71), (99, 1)),
        ((50, 50), (70, 30)),
        ((25, 25), (50, 50)),
        ((25, 25, 20), (37, 35, 28)),
        ((5, 65), (8, 92)),
        ((0, 100), (0, 100)),
    ],
)
def test_loads_equal_the_examples_of_envoy_as_its_code_rounds(
    healthy: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """The examples are from its documentation, rounded as its code does where the two differ."""
    health = [Health(100, each) for each in healthy]
    assert loads(health, healthy_panic_threshold=0).healthy == expected


def test_degraded_hosts_get_the_load_that_healthy_hosts_leave() -> None:
    """Healthy 10, 20, 10 % and degraded 20, 10, 0 %: the example in a comment of Envoy's code."""
    health = [Health(10, 1, 2), Health(10, 2, 1), Health(10, 1, 0)]
    result = loads(health, overprovisioning_factor=100, healthy_panic_threshold=0)
    assert (result.healthy, result.degraded) == ((16, 28, 14), (28, 14, 0))


def test_if_every_priority_panics_the_load_follows_the_numbers_of_hosts() -> None:
    result = loads([Health(0, 0), Health(3, 0), Health(4, 1)])
    assert result.panic == (True, True, True)
    assert result.healthy == (0, 43, 57)


def test_without_healthy_hosts_and_panic_the_first_priority_gets_the_load() -> None:
    assert loads([Health(3, 0), Health(4, 0)], healthy_panic_threshold=0).healthy == (100, 0)
