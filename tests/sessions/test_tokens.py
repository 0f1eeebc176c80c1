"""Tokens cannot be forged or read, and they expire."""

import ast
import copy
import hmac
import inspect
import pickle
import subprocess
import sys
import textwrap
from math import inf, nan
from random import Random, SystemRandom
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidKey, InvalidSetting, InvalidTime
from balancers.sessions import SessionTokens
from balancers.sessions import tokens as module
from balancers.sessions._identity_index import digest_of
from balancers.sessions.tokens import Claim
from tests.sessions.forge import KINDS, forged, raw, text
from tests.sessions.samples import KEY, OLD_KEY, WALL, tokens

IDENT = digest_of("10.0.0.1:80")
TOKEN = tokens().seal(IDENT, WALL)
GOLDEN = (
    "bqaHdm6s-5zwXpFf_OtiRIH6_nIE5i59W37w4GdeY5SGLIoLaTVIux"
    "rF46ztRsJS7Oka6Mdsyhagw301YaM4o-gHy8gV2t8DjDs7QhqXYEo"
)


def test_opening_a_token_returns_what_was_sealed() -> None:
    sealed = tokens(idle_timeout=inf, lifetime=inf)
    token = sealed.seal(IDENT, WALL + 0.25, issued_at=WALL - 1e6)
    assert sealed.open(token, WALL + 0.25) == Claim(IDENT, WALL - 1e6, WALL + 0.25, 0)


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_detected(bit: int) -> None:
    for place in range(80):
        flipped = bytearray(raw(TOKEN))
        flipped[place] ^= 1 << bit
        assert tokens().open(text(bytes(flipped)), WALL) == "forged"


def test_every_changed_character_is_detected() -> None:
    """The last character has two bits that are not decoded; a change of them is detected too."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, right in enumerate(TOKEN):
        for wrong in alphabet if place > 100 else "Az09-_":
            if wrong != right:
                token = TOKEN[:place] + wrong + TOKEN[place + 1 :]
                assert tokens().open(token, WALL) == "forged"


@pytest.mark.parametrize("length", range(107))
def test_a_truncated_token_is_malformed(length: int) -> None:
    assert tokens().open(TOKEN[:length], WALL) == "malformed"
    assert tokens().open(TOKEN[-length - 1 : -1] + TOKEN[:length], WALL) == "malformed"


@pytest.mark.parametrize(
    "token",
    ["", "A" * 1_000_000, TOKEN * 10_000, "é" * 107, "\ud800" * 107, TOKEN[:-1] + "\udfff",
     TOKEN[:-1] + "=", TOKEN[:-1] + "+", TOKEN[:-1] + "/", TOKEN[:-1] + "\n", TOKEN + "\n",
     TOKEN + "=", " " + TOKEN, TOKEN[:-1] + "\0", "٣" * 107],
    ids=lambda token: repr(token)[:10] + repr(token)[-8:],
)  # fmt: skip
def test_text_that_is_no_token_is_malformed(token: str) -> None:
    assert tokens().open(token, WALL) == "malformed"


@given(st.text(max_size=120) | st.text("Ab-_9", min_size=107, max_size=107))
def test_arbitrary_text_is_never_accepted(token: str) -> None:
    assert tokens().open(token, WALL) in {"malformed", "forged"}


def test_none_of_many_forged_tokens_is_accepted() -> None:
    """``python -m tests.sessions.forge`` tries a million."""
    tried, accepted = forged(8000)
    assert set(tried) == {kind.__name__ for kind in KINDS}
    assert min(tried.values()) > 700
    assert accepted.total() == 0


def test_keys_can_be_rotated() -> None:
    old, new = tokens([OLD_KEY]), tokens([KEY])
    both = tokens([KEY, OLD_KEY])
    early, late = old.seal(IDENT, WALL), both.seal(IDENT, WALL)
    assert new.open(early, WALL) == old.open(late, WALL) == "forged"
    opened = both.open(early, WALL)
    assert opened == Claim(IDENT, WALL, WALL, 1)
    assert isinstance(opened, Claim)
    assert both.needs_renewal(opened, WALL)
    assert new.open(late, WALL) == both.open(late, WALL) == Claim(IDENT, WALL, WALL, 0)
    assert tokens([OLD_KEY, KEY]).open(late, WALL) == Claim(IDENT, WALL, WALL, 1)


@pytest.mark.parametrize("tail", [b"", b"\0", b"x"])
def test_keys_of_any_length_are_distinguished(tail: bytes) -> None:
    """HMAC pads short keys and hashes long ones; the derived keys must still differ."""
    long = b"k" * 63 + tail
    for key in (b"k" * 16, b"k" * 64, b"k" * 65, b"k" * 1000):
        if key != long:
            assert tokens([key]).open(tokens([long]).seal(IDENT, WALL), WALL) == "forged"


def test_a_token_expires() -> None:
    sealed = tokens(idle_timeout=100.0, lifetime=300.0, clock_skew=10.0)
    token = sealed.seal(IDENT, WALL)
    for after, reason in ((0, ""), (100, ""), (100.5, "expired"), (1e9, "expired")):
        opened = sealed.open(token, WALL + after)
        assert (opened if isinstance(opened, str) else "") == reason
    kept = sealed.seal(IDENT, WALL + 250, issued_at=WALL)
    assert isinstance(sealed.open(kept, WALL + 300), Claim)
    assert sealed.open(kept, WALL + 300.5) == "expired"


def test_a_token_from_the_future_is_refused_beyond_the_clock_skew() -> None:
    sealed = tokens(clock_skew=10.0)
    token = sealed.seal(IDENT, WALL)
    assert isinstance(sealed.open(token, WALL - 10), Claim)
    assert sealed.open(token, WALL - 10.5) == "not yet valid"
    assert sealed.open(sealed.seal(IDENT, WALL, WALL + 99), WALL) == "not yet valid"
    assert sealed.open(sealed.seal(IDENT, WALL + 99, WALL), WALL) == "not yet valid"


@given(
    st.floats(1, 1e9), st.floats(1, 1e9), st.floats(0, 1e6), st.floats(-2e9, 2e9), st.floats(0, 2e9)
)
def test_tokens_expire_exactly_at_their_limits(
    idle: float, lifetime: float, skew: float, later: float, age: float
) -> None:
    sealed = tokens(idle_timeout=idle, lifetime=lifetime, clock_skew=skew)
    token, wall = sealed.seal(IDENT, WALL, WALL - age), WALL + later
    over = wall - WALL > idle or wall - (WALL - age) > lifetime
    reason = "not yet valid" if wall + skew < WALL else "expired" if over else ""
    opened = sealed.open(token, wall)
    assert (opened if isinstance(opened, str) else "") == reason


@pytest.mark.parametrize("max_age", [inf, 40.0])
def test_a_token_needs_renewal_after_a_quarter_of_its_idle_timeout(max_age: float) -> None:
    sealed = tokens(idle_timeout=100.0)
    claim = Claim(IDENT, WALL - 5000, WALL, 0)
    fourth = min(100.0, max_age) / 4
    assert not sealed.needs_renewal(claim, WALL + fourth - 0.5, max_age)
    assert sealed.needs_renewal(claim, WALL + fourth, max_age)
    assert not sealed.needs_renewal(claim, WALL - 1000)
    assert not tokens(idle_timeout=inf).needs_renewal(claim, WALL + 1e9)


def test_two_tokens_for_one_backend_have_no_common_bytes() -> None:
    sealed = tokens()
    many = [raw(sealed.seal(IDENT, WALL)) for _ in range(60)]
    seen: set[bytes] = set()
    for token in many:
        windows = {token[place : place + 5] for place in range(len(token) - 4)}
        assert not windows & seen  # by chance 1 in 100 000
        seen |= windows


@pytest.mark.parametrize("name", ["a", "10.0.0.1:80", b"\0", "x" * 10_000, "é"])
def test_a_token_does_not_reveal_its_backend(name: str | bytes) -> None:
    ident = digest_of(name)
    token = tokens(seed=3).seal(ident, WALL)
    assert len(token) == 107
    data = name.encode() if isinstance(name, str) else name
    for secret in (ident, ident[:5], *([data] if len(data) > 3 else [])):
        assert secret not in raw(token)
        assert secret not in token.encode()
    assert len(raw(token)) == 80


def test_a_token_does_not_reveal_its_times() -> None:
    """The plain blocks of two tokens of the same time differ only in the identity."""
    first, second = (raw(tokens(seed=5).seal(digest_of(name), WALL)) for name in "ab")
    assert first[:16] == second[:16]  # the same seed gives the same nonce: never do this
    assert first[32:48] == second[32:48]
    apart = raw(tokens(seed=6).seal(digest_of("a"), WALL))
    assert apart[32:48] != first[32:48]


def test_a_token_of_last_year_opens_today() -> None:
    """It was sealed by another process."""
    sealed = tokens(idle_timeout=inf, lifetime=inf)
    assert sealed.open(GOLDEN, WALL + 3e7) == Claim(IDENT, WALL, WALL + 60, 0)
    assert tokens(seed=9).seal(IDENT, WALL + 60, WALL) == GOLDEN


def test_a_token_opens_in_another_process() -> None:
    code = (
        "from tests.sessions.samples import *; import sys;print(tokens().open(sys.argv[1], WALL))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tokens(seed=77).seal(IDENT, WALL)],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert run.stdout.strip() == repr(Claim(IDENT, WALL, WALL, 0))


def test_the_comparison_in_constant_time_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the difference is, complete tokens are compared, exactly once per key."""
    compared: list[tuple[int, int]] = []
    verdict = False

    def compare(ours: bytes, theirs: bytes) -> bool:
        compared.append((len(ours), len(theirs)))
        return verdict

    monkeypatch.setattr(module, "compare_digest", compare)
    sealed = tokens([KEY, OLD_KEY])
    wrong = [TOKEN[:i] + ("A" if TOKEN[i] != "A" else "B") + TOKEN[i + 1 :] for i in range(107)]
    for token in [TOKEN, *wrong, "A" * 107]:
        compared.clear()
        assert sealed.open(token, WALL) == "forged"
        assert compared == [(107, 107)] * 2
    verdict = True
    assert sealed.open(TOKEN, WALL) == Claim(IDENT, WALL, WALL, 0)
    for token in wrong:
        assert sealed.open(token, WALL) != "forged"


def test_open_compares_nothing_else() -> None:
    """The only other comparison in ``open`` is of lengths."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(SessionTokens.open)))
    compares = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert compares == ["len(token) != _TOKEN_LENGTH"]
    assert vars(module)["compare_digest"] is hmac.compare_digest


def test_a_system_generator_works() -> None:
    sealed = SessionTokens([KEY], rng=SystemRandom())
    first, second = sealed.seal(IDENT, WALL), sealed.seal(IDENT, WALL)
    assert first != second
    assert sealed.open(first, WALL) == sealed.open(second, WALL) == Claim(IDENT, WALL, WALL, 0)


def test_secrets_are_in_no_repr_and_no_message() -> None:
    sealed = tokens([KEY, OLD_KEY])
    assert repr(sealed) == "<SessionTokens: 2 keys, idle_timeout 1800.0 s, lifetime 86400.0 s>"
    with pytest.raises(InvalidSetting) as refusal:
        tokens([b"too short"])
    assert "too short" not in str(refusal.value)


@pytest.mark.parametrize(
    "keys", [[], [b"x" * 15], [KEY, KEY], ["a text of thirty-two characters."], [None], KEY]
)
def test_invalid_keys(keys: Any) -> None:
    with pytest.raises(InvalidSetting, match="key"):
        tokens(keys)


@pytest.mark.parametrize("setting", ["idle_timeout", "lifetime", "clock_skew"])
@pytest.mark.parametrize("value", [-1.0, nan, -inf, "1", None])
def test_invalid_durations(setting: str, value: float) -> None:
    for unfit in (value, inf if setting == "clock_skew" else 0.0):
        settings: dict[str, Any] = {setting: unfit}
        with pytest.raises(InvalidSetting, match=setting):
            tokens(**settings)


@pytest.mark.parametrize("wall", [nan, inf, -inf, 10**400, 2e300])
def test_invalid_wall_times(wall: float) -> None:
    sealed = tokens()
    for call in (
        lambda: sealed.seal(IDENT, wall),
        lambda: sealed.open(TOKEN, wall),
        lambda: sealed.needs_renewal(Claim(IDENT, WALL, WALL, 0), wall),
    ):
        with pytest.raises(InvalidTime, match="wall"):
            call()


def test_a_seed_gives_a_repeatable_sequence() -> None:
    assert Random(1).randbytes(16) == raw(TOKEN)[:16]
    first, second = tokens(seed=4), tokens(seed=4)
    assert [first.seal(IDENT, WALL) for _ in range(3)] == [
        second.seal(IDENT, WALL) for _ in range(3)
    ]


def test_copies_share_the_generator_so_that_no_nonce_is_repeated() -> None:
    for rng in (Random(1), SystemRandom()):
        sealed = SessionTokens([KEY], rng=rng)
        inside = {"tokens": sealed}
        copies = [copy.copy(sealed), copy.deepcopy(sealed), copy.deepcopy(inside)["tokens"]]
        written = {one.seal(IDENT, WALL) for one in [sealed, *copies] * 3}
        assert len(written) == 12
        assert all(isinstance(sealed.open(token, WALL), Claim) for token in written)


def test_tokens_pickle_with_any_generator() -> None:
    sealed = SessionTokens([KEY], rng=SystemRandom(), idle_timeout=7.0)
    copied = pickle.loads(pickle.dumps(sealed))  # noqa: S301 - own
    assert isinstance(copied.open(sealed.seal(IDENT, WALL), WALL), Claim)
    assert copied.seal(IDENT, WALL) != sealed.seal(IDENT, WALL)
    assert copied.idle_timeout == 7.0
    seeded = SessionTokens([KEY], rng=Random(1))
    again = pickle.loads(pickle.dumps(seeded))  # noqa: S301 - own
    assert again.seal(IDENT, WALL) == seeded.seal(IDENT, WALL)


@pytest.mark.parametrize("rng", [None, Random, 7])
def test_an_invalid_generator_is_a_type_error(rng: Any) -> None:
    with pytest.raises(TypeError, match="rng must be"):
        SessionTokens([KEY], rng=rng)


@pytest.mark.parametrize("ident", [b"", b"x", bytes(17)])
def test_an_identity_has_16_bytes(ident: bytes) -> None:
    with pytest.raises(InvalidKey, match="16 bytes"):
        tokens().seal(ident, WALL)
