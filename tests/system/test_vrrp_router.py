"""The router of the examples alone: what it does to its interface, and wrong options."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.system.keepalived import ADDRESSES, LIMIT, Ours
from tests.system.lab import EXAMPLES, Lab, Node, missing, wait_until

pytestmark = pytest.mark.deep


@pytest.fixture(name="node")
def a_node() -> Generator[Node]:
    if reason := missing():
        pytest.skip(reason)
    with Lab() as lab:
        yield lab.node("alone")


def refused(node: Node, *options: str) -> str:
    """Run the router, which must not start; return what it prints."""
    command = [sys.executable, str(EXAMPLES / "vrrp_router.py"), "--interface=eth0", *options]
    done = subprocess.run(
        node.inside(*command), capture_output=True, check=False, text=True, timeout=LIMIT
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_only_address_of_an_interface_is_not_removed(node: Node) -> None:
    before = node.addresses()
    for own in (f"{node.address4}/24", f"{node.link_local}/64"):
        assert "not started: eth0 has no IPv" in refused(node, "--vrid=51", f"--address={own}")
    assert node.addresses() == before


@pytest.mark.parametrize(
    "options",
    [
        ["--vrid=0", "--address=10.77.0.100/24"],
        ["--vrid=51", "--address=10.77.0.100/24", "--interval=nan"],
        ["--vrid=51", "--address=10.77.0.100/24", "--ready=8080"],
        ["--vrid=51", "--address=fd77::100/64"],
    ],
    ids=lambda options: options[-1],
)
def test_wrong_options_have_a_message(node: Node, options: list[str]) -> None:
    before = node.addresses()
    errors = refused(node, *options)
    assert "not started: " in errors or "error: " in errors
    assert node.addresses() == before


def test_addresses_that_a_killed_router_has_left_are_removed(node: Node, tmp_path: Path) -> None:
    router = Ours(node, tmp_path, 100, 0.4)
    for addresses in ADDRESSES.values():
        for address in addresses:
            node.run("ip", "address", "add", address, "dev", "eth0")
    router.start()
    for version in ADDRESSES:
        router.wait(version, "backup", 0.0)
    wait_until(lambda: all(map(router.lacks, ADDRESSES)), LIMIT, "the addresses are removed")
    for version in ADDRESSES:
        router.wait(version, "active", 0.0)
    wait_until(lambda: all(map(router.has, ADDRESSES)), LIMIT, "the router has the addresses")
