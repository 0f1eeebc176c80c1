"""The tokens that PrefixAffinity counts, request by request."""

from balancers.hashing import PrefixAffinity, chain

KEY = chain(range(16), block=4)
"""Four blocks of four tokens."""


def cached() -> PrefixAffinity[str]:
    """Return a balancer with one backend, which has the key in its cache."""
    lb = PrefixAffinity(["a"], block=4)
    lb.started(lb.pick(KEY))
    assert lb.load_of("a") == 16
    lb.finished("a")
    assert (lb.load_of("a"), lb.cached_blocks("a", KEY)) == (0, 4)
    return lb


def test_a_request_counts_as_one_token_at_least() -> None:
    lb = cached()
    lb.started("a", bound=True)
    assert lb.load_of("a") == 1
    lb.started(lb.pick(KEY))
    assert lb.load_of("a") == 2, "all blocks are cached"
    lb.started(lb.pick(b""))
    assert lb.load_of("a") == 3
    for left in (2, 1, 0):
        lb.finished("a")
        assert lb.load_of("a") == left


def test_only_the_first_charge_of_a_request_is_its_price() -> None:
    lb = cached()
    lb.started(lb.pick(KEY))
    lb.charged("a", 20)
    assert lb.load_of("a") == 4, "16 of 20 tokens are cached"
    lb.charged("a", 10)
    assert lb.load_of("a") == 14
    lb.charged("a", -30)
    lb.finished("a")
    assert lb.load_of("a") == 0


def test_the_charge_of_another_request_is_not_the_price() -> None:
    lb = cached()
    lb.started("a", bound=True)
    lb.charged("a", 10)
    lb.started(lb.pick(KEY))
    assert lb.load_of("a") == 11
    lb.charged("a", -10)
    assert lb.load_of("a") == 1


def test_a_backend_does_not_inherit_from_one_that_has_left() -> None:
    lb = cached()
    lb.pick(KEY)
    lb.discard("a")
    lb.put("b")
    lb.started("b")
    assert (lb.load_of("b"), lb.cached_blocks("b", KEY)) == (1, 0)
    lb = cached()
    lb.started(lb.pick(KEY))
    lb.discard("a")
    lb.put("b")
    lb.charged("b", 30)
    assert lb.load_of("b") == 30
    lb.started(lb.pick(KEY))
    assert (lb.load_of("b"), lb.cached_blocks("b", KEY)) == (46, 4)
