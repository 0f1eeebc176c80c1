"""Tables of learned sessions and of addresses: like a dict, and never above their bound."""

from collections.abc import Callable, Iterator
from functools import partial

from balancers import RoundRobin
from balancers.errors import InvalidKey, InvalidTime
from balancers.pool import Pool
from balancers.sessions import AddressSessions, LearnedSessions
from tests.fuzz.choices import Choices

__all__ = ["WORDS", "check"]

WORDS = (b"\x00\x00", b"\x01\xff", b"192.0.2.1", b"::ffff:192.0.2.1", b"2001:db8::", b"%eth0")
BACKENDS = ["a", "b", "c"]
MOST, IDLE = 3, 10.0


def check(data: bytes) -> None:
    """The bytes are decisions: which session is looked up, stored or removed, and when."""
    check_learned(Choices(data))
    check_addresses(Choices(data))


def times(choices: Choices) -> Iterator[float]:
    """Yield the clock as a caller passes it, which may go back, while there are bytes."""
    now = 100.0
    while choices:
        now += (choices.below(64) - 8) / 2
        yield now


def session_of(choices: Choices) -> str | bytes | int:
    text = choices.text()[:3]
    return (text, text.encode("latin-1"), choices.below(3), text + "\ud800")[choices.below(4)]


def check_learned(choices: Choices) -> None:
    """Compare the table of learned ids with a dict in the order of use."""
    pool = Pool(RoundRobin(BACKENDS))
    table = LearnedSessions(pool, max_sessions=MOST, idle_timeout=IDLE)
    model: dict[bytes | None, tuple[str, float]] = {}
    latest = float("-inf")
    for given in times(choices):
        action, session = choices.below(4), session_of(choices)
        key = normal(session)
        now = max(latest, given)
        if action == 1 or (action == 0 and key is not None):
            latest = now
            for old in [old for old, (_, at) in model.items() if now - at > IDLE]:
                del model[old]
        if action == 0:
            lease = pool.acquire(now)
            if key is None:
                assert refuses(partial(table.learn, session, lease, given))
            else:
                table.learn(session, lease, given)
                model.pop(key, None)
                model[key] = lease.backend, now
                if len(model) > MOST:
                    del model[next(iter(model))]
            pool.release(lease, now)
        elif action == 1:
            found = table.resolve(session, given)
            assert found.backend == (model[key][0] if key in model else None)
            if key in model:
                model[key] = model.pop(key)[0], now
        elif action == 2:
            assert refuses(partial(table.forget, session)) == (key is None)
            model.pop(key, None)
        else:
            assert refuses(partial(table.resolve, session, float("nan")))
        assert len(table) == len(model) <= MOST


def refuses(call: Callable[[], object]) -> bool:
    """Return whether a call is refused because of the session or the time."""
    try:
        call()
    except (InvalidKey, InvalidTime):
        return True
    return False


def normal(session: str | bytes | int) -> bytes | None:
    """Return the bytes of a session, or None if it cannot be a session."""
    if isinstance(session, str):
        return None if "\ud800" in session else session.encode()
    return session if isinstance(session, bytes) else session.to_bytes(8, "little", signed=True)


def check_addresses(choices: Choices) -> None:
    """A flood of addresses stays below the bound, and one client keeps one backend."""
    pool = Pool(RoundRobin(BACKENDS))
    table = AddressSessions(pool, max_sessions=MOST, idle_timeout=IDLE)
    for now in times(choices):
        client = choices.text()
        found = table.resolve(client, now)
        lease = pool.acquire(now, prefer=found.backend)
        table.issue(lease, 0.0, found)
        pool.release(lease, now)
        assert len(table) <= MOST
        again = table.resolve(client, now)
        if found.reason == "malformed":
            assert again.backend is None
        else:
            assert again.backend == lease.backend
