"""Client subnet options: everything that RFC 7871 forbids is refused, and the rest is returned."""

import copy
import json
import pickle
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest

from balancers.errors import BalancersError, InvalidKey, InvalidSetting, MalformedClientSubnet
from balancers.gslb import ClientSubnet, NetworkTable
from tests.depth import runs

RECORDED = json.loads(
    (Path(__file__).parents[1] / "vectors/gslb/ecs_malformed.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    "case",
    [case for case in RECORDED["cases"] if case["server"] == "gdnsd"],
    ids=lambda case: str(case["case"]),
)
def test_an_option_is_refused_if_gdnsd_answers_formerr(case: dict[str, Any]) -> None:
    option = bytes.fromhex(case["option_hex"])
    if case["rcode"] == "FORMERR":
        with pytest.raises(MalformedClientSubnet):
            ClientSubnet.parse(option)
    else:
        parsed = ClientSubnet.parse(option)
        [echo] = case["ecs"]
        assert echo == f"ECS {parsed.address}/{parsed.source} scope/{parsed.answer(16).scope}"


def valid(option: bytes, answer: bool) -> bool:
    """Return whether an option follows the rules, bit by bit."""
    if len(option) < 4 or option[0] or option[1] not in {1, 2}:
        return False
    bits = 32 if option[1] == 1 else 128
    source, scope, address = option[2], option[3], option[4:]
    text = "".join(f"{byte:08b}" for byte in address)
    whole = len(text) % 8 == 0 and len(text) - 8 < source <= len(text)
    if not address:
        whole = source == 0
    return (
        source <= bits and scope <= (bits if answer else 0) and whole and "1" not in text[source:]
    )


@pytest.mark.parametrize("family", [0, 1, 2, 3, 255, 256, 257, 258, 512, 65535])
def test_every_source_scope_and_length(family: int) -> None:
    header = family.to_bytes(2, "big")
    for source in (*range(40), 63, 64, 65, *range(120, 140), 255):
        for scope in (0, 1, source, 32, 33, 128, 129, 255):
            for size in {0, 1, 3, 4, 5, 15, 16, 17, source // 8, (source + 7) // 8}:
                for fill in (b"\0", b"\xff"):
                    check(header + bytes((source, scope)) + size * fill)


def check(option: bytes) -> None:
    """Assert that an option is refused, or that it is written as it was read."""
    for answer in (False, True):
        try:
            parsed = ClientSubnet.parse(option, answer=answer)
        except MalformedClientSubnet:
            assert not valid(option, answer)
        else:
            assert valid(option, answer)
            assert parsed.encode() == option
            assert ip_network((parsed.address, parsed.source))
            assert ClientSubnet(parsed.address, parsed.source, parsed.scope) == parsed


def test_random_options_and_every_option_of_four_and_five_bytes_that_is_nearly_valid() -> None:
    rng = Random(7)
    for _ in range(runs(100_000)):
        family, size = rng.choice((0, 1, 2, 2, 3)), rng.randrange(18)
        source = rng.choice((8 * size, rng.randrange(8 * size + 1), rng.randrange(256)))
        scope = rng.choice((0, 0, rng.randrange(256)))
        address = bytearray(rng.randbytes(size))
        if address and rng.random() < 0.7:
            address[-1] &= 0xFF << 8 * size - source if 0 <= 8 * size - source < 8 else 0xFF
        check(bytes((0, family, source & 255, scope)) + bytes(address))
    for source in range(256):
        for byte in range(256):
            check(bytes((0, 1, source, 0, byte)))


@pytest.mark.parametrize("text", ["00011800c00002", "0002380020010db8000000", "00010000"])
def test_a_truncated_or_longer_option_is_refused(text: str) -> None:
    option = bytes.fromhex(text)
    for cut in range(len(option)):
        with pytest.raises(MalformedClientSubnet):
            ClientSubnet.parse(option[:cut])
    with pytest.raises(MalformedClientSubnet):
        ClientSubnet.parse(option + b"\0")


@pytest.mark.parametrize(
    ("address", "source", "expected"),
    [
        ("192.0.2.0", 24, "000118 00 c00002"),
        ("192.0.2.0", 23, "000117 00 c00002"),
        ("192.0.2.1", 32, "000120 00 c0000201"),
        (bytes(4), 0, "000100 00"),
        ("::", 0, "000200 00"),
        ("2001:db8::", 56, "000238 00 20010db8000000"),
        ("2001:db8::1", 128, "000280 00 20010db8000000000000000000000001"),
        ("::ffff:192.0.2.0", 120, "000278 00 00000000000000000000ffffc00002"),
    ],
)
def test_options_as_dig_sends_them(address: str | bytes, source: int, expected: str) -> None:
    subnet = ClientSubnet(address, source)
    assert subnet.encode() == bytes.fromhex(expected)
    assert ClientSubnet.parse(subnet.encode()) == subnet
    for kind in (bytearray, memoryview):
        assert ClientSubnet.parse(kind(subnet.encode())) == subnet


def test_dnspython_writes_and_reads_the_same_bytes() -> None:
    edns = pytest.importorskip("dns.edns")
    rng = Random(11)
    for _ in range(200):
        bits = rng.choice((32, 128))
        source, scope = rng.randrange(bits + 1), rng.randrange(bits + 1)
        number = rng.getrandbits(bits) >> bits - source << bits - source
        address = IPv4Address(number) if bits == 32 else IPv6Address(number)
        ours = ClientSubnet(address, source, scope)
        theirs = edns.ECSOption(str(address), source, scope)
        assert theirs.to_wire() == ours.encode()
        assert ClientSubnet.parse(theirs.to_wire(), answer=True) == ours


def test_the_option_of_an_answer() -> None:
    query = ClientSubnet("192.0.2.0", 24)
    assert query.answer(16) == ClientSubnet("192.0.2.0", 24, 16)
    assert query.answer(32).encode() == bytes.fromhex("00011820c00002")
    assert query.answer(16).answer(0) == query
    assert ClientSubnet("::", 0).answer(56) == ClientSubnet("::", 0, 0)
    assert query == ClientSubnet(IPv4Address("192.0.2.0"), 24, 0)
    for subnet in (query, ClientSubnet("::", 0)):
        for scope in (-1, 129, 1.0, None, True, "16"):
            with pytest.raises(InvalidSetting):
                subnet.answer(scope)  # type: ignore[arg-type]  # invalid


def test_the_scope_of_a_mapped_client_is_counted_from_the_ipv6_address() -> None:
    table = NetworkTable({"12.1.0.0/16": "de"})
    query = ClientSubnet.parse(ClientSubnet("::ffff:12.1.7.0", 120).encode())
    found = table.find(query.address)
    assert (found.value, query.answer(found.scope).scope) == ("de", 112)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("192.0.2.1", 24), ("192.0.2.0", 33), ("192.0.2.0", -1), ("::1", 127), ("::", 129)),
        *(("192.0.2.0", 24, 33), ("192.0.2.0", 24, -1), ("192.0.2.0", True), ("192.0.2.0", 24.0)),
        *(("192.0.2.0", None), ("192.0.2.0", "24"), ("192.0.2.0", 24, None), ("fe80::%eth0", 64)),
    ],
)
def test_invalid_settings(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidSetting):
        ClientSubnet(*arguments)


@pytest.mark.parametrize("address", ["", "192.0.2.0/24", None, 5, b"abc", ["192.0.2.0"]])
def test_invalid_addresses(address: Any) -> None:
    with pytest.raises(InvalidKey):
        ClientSubnet(address, 24)


@pytest.mark.parametrize("option", ["000118", None, 5, [0, 1, 24, 0], ClientSubnet("::", 0)])
def test_an_option_is_bytes(option: Any) -> None:
    with pytest.raises(TypeError, match="option must be bytes"):
        ClientSubnet.parse(option)


def test_the_error_is_one_of_this_package() -> None:
    assert issubclass(MalformedClientSubnet, BalancersError | ValueError)


def test_a_subnet_is_a_value() -> None:
    subnet = ClientSubnet("2001:db8::", 32, 16)
    for same in (copy.copy(subnet), copy.deepcopy(subnet), pickle.loads(pickle.dumps(subnet))):  # noqa: S301 - its own
        assert same == subnet
        assert hash(same) == hash(subnet)
    assert subnet != ClientSubnet("2001:db8::", 32, 17)
    assert subnet.address == ip_address("2001:db8::")
    with pytest.raises(AttributeError):
        subnet.scope = 5  # type: ignore[misc]  # frozen
    assert repr(subnet) == "ClientSubnet(address=IPv6Address('2001:db8::'), source=32, scope=16)"
