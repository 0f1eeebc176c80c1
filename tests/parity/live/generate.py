"""Random parts of cases: addresses, weights, keys and overlapping requests."""

from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

from balancers.addresses import address_text

__all__ = ["addresses", "clients", "keys", "overlapping", "port", "weights"]

_ALPHABETS = ("0123456789", "abcdef0123456789", "ABCxyz019-._~:/=+", "äöüßéñ日本語ключ", "ab c%20")
_WORDS = ("user:", "cart-", "/img/", "session=", "10.0.0.", "")


def port(rng: Random) -> int:
    """Return a port below the range from which the system assigns ports."""
    return rng.randrange(10_000, 32_768)


def addresses(rng: Random, count: int) -> list[str]:
    """Return different addresses of this host, with ports."""
    found: dict[str, None] = {}
    while len(found) < count:
        host = f"127.{rng.randrange(1, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        found[f"{host}:{port(rng)}"] = None
    return list(found)


def weights(rng: Random, count: int, most: int = 40) -> list[int]:
    """Return weights, which are sometimes all equal."""
    if rng.random() < 0.3:
        return [rng.choice([1, rng.randint(1, most)])] * count
    return [rng.choice([1, 1, 2, 3, 5, rng.randint(1, most)]) for _ in range(count)]


def keys(rng: Random, count: int, *, ascii_only: bool = False, empty: float = 0.0) -> list[str]:
    """Return keys that are valid header values; the share ``empty`` of them is empty."""
    return ["" if rng.random() < empty else _key(rng, ascii_only) for _ in range(count)]


def _key(rng: Random, ascii_only: bool) -> str:
    alphabet = rng.choice(_ALPHABETS[:3] if ascii_only else _ALPHABETS)
    letters = "".join(rng.choice(alphabet) for _ in range(rng.choice([1, 2, 5, 9, 20, 70])))
    return f"{rng.choice(_WORDS)}{letters}".strip() or "x"


def clients(rng: Random, count: int) -> list[str]:
    """Return addresses of clients, short and in lower case; three tenths are IPv6."""
    return [
        address_text(
            _ipv6(rng) if rng.random() < 0.3 else IPv4Address(rng.randrange(1 << 24, 223 << 24))
        )
        for _ in range(count)
    ]


def _ipv6(rng: Random) -> IPv6Address:
    """Return an address of which a program may write the last four bytes as IPv4, or another."""
    match rng.randrange(6):
        case 0:
            return IPv6Address(rng.getrandbits(rng.choice([8, 16, 17, 24, 32, 33])) or 1)
        case 1:
            return IPv6Address(0xFFFF << 32 | rng.getrandbits(32))
        case _:
            return IPv6Address(0x20010DB8 << 96 | rng.getrandbits(rng.choice([16, 64, 96])))


def overlapping(rng: Random, count: int, most: int, given: list[Any]) -> list[list[Any]]:
    """Return operations that start and end requests in random order, at most ``most`` at once.

    Every request ends.  Keys are chosen from ``given``.
    """
    operations: list[list[Any]] = []
    held: list[int] = []
    number = 0
    while number < count or held:
        if held and (number == count or len(held) >= most or rng.random() < 0.45):
            operations.append(["close", held.pop(rng.randrange(len(held)))])
        else:
            operations.append(["open", number, rng.choice(given)])
            held.append(number)
            number += 1
    return operations
