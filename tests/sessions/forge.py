"""Try forged tokens: ``python -m tests.sessions.forge [N]``.

Prints how many tokens of each kind were tried and accepted, and fails if any was accepted.
"""

import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from random import Random

from balancers.sessions import Binding, CookieSessions, HeaderSessions, SessionTokens
from balancers.sessions.tokens import Claim
from tests.sessions.samples import KEY, OLD_KEY, WALL, pool_of, token_of, tokens_of

__all__ = ["KINDS", "forged"]

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
DEFAULT_COUNT = 1_000_000
POOL = pool_of()
LEASE = POOL.acquire(0.0)


def raw(token: str) -> bytes:
    return urlsafe_b64decode(token + "=")


def text(signed: bytes) -> str:
    return urlsafe_b64encode(signed).decode().rstrip("=")


def bits_flipped(rng: Random, token: str, _other: str) -> str:
    flipped = bytearray(raw(token))
    for _ in range(rng.choice((1, 1, 2, 8))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return text(bytes(flipped))


def character_replaced(rng: Random, token: str, _other: str) -> str:
    place = rng.randrange(len(token))
    return token[:place] + rng.choice(ALPHABET) + token[place + 1 :]


def spliced(rng: Random, token: str, other: str) -> str:
    """Combine two genuine tokens: some parts (nonce, block, tag) are from the other one."""
    first_token, second_token = raw(token), raw(other)
    first, last = sorted(rng.sample((0, 16, 32, 40, 48, 64, 80), 2))
    return text(first_token[:first] + second_token[first:last] + first_token[last:])


def cut_or_extended(rng: Random, token: str, _other: str) -> str:
    return token[: rng.randrange(len(token))] if rng.random() < 0.5 else token + rng.choice("A=. ")


def random_bytes(rng: Random, _token: str, _other: str) -> str:
    return text(rng.randbytes(80))


def sealed_with_another_key(rng: Random, _token: str, _other: str) -> str:
    return SessionTokens([rng.randbytes(32)], rng=rng).seal(rng.randbytes(16), WALL)


def of_another_cookie(rng: Random, _token: str, _other: str) -> str:
    """Issue a genuine token with the same keys for another cookie or header of the same pool."""
    name, sealed = f"cookie-{rng.random()}", SessionTokens([KEY], rng=rng)
    if rng.random() < 0.5:
        by_header = HeaderSessions(POOL, sealed, context="shop", name=name)
        return by_header.issue(LEASE, WALL, Binding()) or ""
    by_cookie = CookieSessions(POOL, sealed, context="shop", name=name)
    return token_of(by_cookie.issue(LEASE, WALL, Binding()))


def of_another_pool(rng: Random, _token: str, _other: str) -> str:
    """Issue a genuine token with the same keys for the same cookie of another pool."""
    context = rng.choice((f"shop {rng.random()}", "Shop", "shop\0", "", rng.randbytes(5)))
    sticky = CookieSessions(POOL, SessionTokens([KEY], rng=rng), context=context)
    return token_of(sticky.issue(LEASE, WALL, Binding()))


KINDS: list[Callable[[Random, str, str], str]] = [
    bits_flipped,
    character_replaced,
    spliced,
    cut_or_extended,
    random_bytes,
    sealed_with_another_key,
    of_another_cookie,
    of_another_pool,
]


def forged(count: int, seed: int = 1) -> tuple[Counter[str], Counter[str]]:
    """Try tokens that were never issued; return how many of each kind were tried and accepted."""
    rng = Random(seed)
    tokens, former = (
        tokens_of(CookieSessions(POOL, SessionTokens(keys, rng=rng), context="shop"))
        for keys in ([KEY, OLD_KEY], [OLD_KEY])
    )
    genuine = [tokens.seal(rng.randbytes(16), WALL) for _ in range(64)]
    genuine += [former.seal(rng.randbytes(16), WALL) for _ in range(64)]
    assert all(isinstance(tokens.open(token, WALL), Claim) for token in genuine)
    issued, tried, accepted = set(genuine), Counter[str](), Counter[str]()
    while tried.total() < count:
        forge = rng.choice(KINDS)
        token = forge(rng, rng.choice(genuine), rng.choice(genuine))
        if token in issued:
            continue
        tried[forge.__name__] += 1
        accepted[forge.__name__] += isinstance(tokens.open(token, WALL), Claim)
    return tried, accepted


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_COUNT
    tried, accepted = forged(count)
    for kind in sorted(tried):
        print(f"{kind:<26}{tried[kind]:>10} tried{accepted[kind]:>6} accepted")  # noqa: T201 - the report
    print(f"{'all':<26}{tried.total():>10} tried{accepted.total():>6} accepted")  # noqa: T201 - the report
    return accepted.total() > 0


if __name__ == "__main__":
    sys.exit(main())
