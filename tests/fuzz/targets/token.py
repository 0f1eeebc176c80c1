"""Session tokens: only the texts that were sealed open, and only where they were sealed."""

from random import Random

from balancers import RoundRobin
from balancers.http import Request
from balancers.pool import Pool
from balancers.sessions import Claim, CookieSessions, HeaderSessions, SessionTokens
from tests.fuzz.choices import Choices

__all__ = ["WORDS", "check"]

KEYS = [b"the first secret", b"the second secret"]
WALL = 1e9
IDENT = bytes(range(16))


def tokens(*keys: bytes, context: str = "") -> SessionTokens:
    return SessionTokens(keys, rng=Random(7), context=context)


OPENERS = [tokens(*KEYS), tokens(*KEYS[::-1])]
OTHERS = [tokens(b"some other secret"), tokens(*KEYS, context="pool"), tokens(*KEYS, context="x")]
SEALED = {sealer.seal(IDENT, WALL) for key in KEYS for sealer in [tokens(key)]}
POOL = Pool(RoundRobin(["a", "b"]))
COOKIES, HEADERS = CookieSessions(POOL, OPENERS[0], name="s"), HeaderSessions(POOL, OPENERS[0])
LEASE = POOL.acquire(0.0)
COOKIE = (COOKIES.issue(LEASE, WALL, COOKIES.resolve(Request(), 0.0, WALL)) or "")[2:109]
WORDS = tuple(token[start : start + 27].encode() for token in SEALED for start in range(0, 107, 27))


def check(data: bytes) -> None:
    """The bytes are a token, as latin-1, and the changes to a sealed token."""
    check_token(data.decode("latin-1"))
    choices = Choices(data)
    for token in sorted(SEALED):
        check_token(changed(token, choices))
    sent = changed(COOKIE, choices)
    bound = COOKIES.resolve(Request(headers=[("Cookie", f"s={sent}")]), 0.0, WALL).backend
    assert bound in {None, LEASE.backend}
    value = sent.partition(";")[0].strip(" \t")
    assert (bound is not None) == (value in {COOKIE, f'"{COOKIE}"'}), sent


def changed(token: str, choices: Choices) -> str:
    """Return a token with a few characters replaced, inserted, removed or swapped."""
    letters = list(token)
    for _ in range(choices.below(4)):
        at = choices.below(len(letters))
        letter = chr(choices.below(256))
        match choices.below(5):
            case 0:
                letters[at] = letter
            case 1:
                letters.insert(at, letter)
            case 2:
                del letters[at]
            case 3:
                other = choices.below(len(letters))
                letters[at], letters[other] = letters[other], letters[at]
            case _:
                letters[at:] = min(SEALED)[at:]
    return "".join(letters)


def check_token(token: str) -> None:
    """Assert that a token opens if and only if it is equal to a sealed one."""
    for opener in OPENERS:
        claim = opener.open(token, WALL)
        if token in SEALED:
            assert isinstance(claim, Claim)
            assert claim.ident == IDENT
            assert opener.open(token, WALL + opener.idle_timeout + 1) == "expired"
            assert opener.open(token, WALL - 61) == "not yet valid"
        else:
            assert claim in {"forged", "malformed"}, token
    for other in OTHERS:
        assert other.open(token, WALL) in {"forged", "malformed"}, token
    for sent in ([("Cookie", f"s={token}")], [("Cookie", f"t={token}"), ("cookie", f"s={token}")]):
        assert COOKIES.resolve(Request(headers=sent), 0.0, WALL).backend is None
    header = Request(headers=[("X-Session-Server", token)])
    assert HEADERS.resolve(header, 0.0, WALL).backend is None
