"""Forge tokens for as long as you like: ``python -m tests.sessions.forge [N]``.

Prints how many of each kind were tried and how many of them were accepted, and fails if any was.
"""

import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from random import Random

from balancers.sessions import SessionTokens
from balancers.sessions.tokens import Claim
from tests.sessions.samples import KEY, OLD_KEY, WALL

__all__ = ["KINDS", "forged"]

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MILLION = 1_000_000


def raw(token: str) -> bytes:
    return urlsafe_b64decode(token + "=")


def text(signed: bytes) -> str:
    return urlsafe_b64encode(signed).decode().rstrip("=")


def bits_flipped(rng: Random, token: str, _other: str) -> str:
    flipped = bytearray(raw(token))
    for _ in range(rng.choice((1, 1, 2, 8))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return text(bytes(flipped))


def a_character_replaced(rng: Random, token: str, _other: str) -> str:
    place = rng.randrange(len(token))
    return token[:place] + rng.choice(ALPHABET) + token[place + 1 :]


def two_spliced(rng: Random, token: str, other: str) -> str:
    """Parts of two genuine tokens: nonce, block or tag of the other."""
    ours, theirs = raw(token), raw(other)
    first, last = sorted(rng.sample((0, 16, 32, 40, 48, 64, 80), 2))
    return text(ours[:first] + theirs[first:last] + ours[last:])


def cut_or_grown(rng: Random, token: str, _other: str) -> str:
    return token[: rng.randrange(len(token))] if rng.random() < 0.5 else token + rng.choice("A=. ")


def drawn(rng: Random, _token: str, _other: str) -> str:
    return text(rng.randbytes(80))


def of_another_key(rng: Random, _token: str, _other: str) -> str:
    return SessionTokens([rng.randbytes(32)], rng=rng).seal(rng.randbytes(16), WALL)


KINDS: list[Callable[[Random, str, str], str]] = [
    bits_flipped,
    a_character_replaced,
    two_spliced,
    cut_or_grown,
    drawn,
    of_another_key,
]


def forged(times: int, seed: int = 1) -> tuple[Counter[str], Counter[str]]:
    """Try so many tokens that were never issued; count the kinds tried and those accepted."""
    rng = Random(seed)
    tokens = SessionTokens([KEY, OLD_KEY], rng=rng)
    genuine = [tokens.seal(rng.randbytes(16), WALL) for _ in range(64)]
    genuine += [SessionTokens([OLD_KEY], rng=rng).seal(rng.randbytes(16), WALL) for _ in range(64)]
    assert all(isinstance(tokens.open(token, WALL), Claim) for token in genuine)
    issued, tried, accepted = set(genuine), Counter[str](), Counter[str]()
    while tried.total() < times:
        forge = rng.choice(KINDS)
        token = forge(rng, rng.choice(genuine), rng.choice(genuine))
        if token in issued:
            continue
        tried[forge.__name__] += 1
        accepted[forge.__name__] += isinstance(tokens.open(token, WALL), Claim)
    return tried, accepted


def main() -> int:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else MILLION
    tried, accepted = forged(times)
    for kind in sorted(tried):
        print(f"{kind:<24}{tried[kind]:>10} tried{accepted[kind]:>6} accepted")  # noqa: T201 - told
    print(f"{'all':<24}{tried.total():>10} tried{accepted.total():>6} accepted")  # noqa: T201 - told
    return accepted.total() > 0


if __name__ == "__main__":
    sys.exit(main())
