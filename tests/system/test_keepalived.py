"""The router of the examples and a real keepalived share virtual addresses.

Both run IPv4 and IPv6 at once, each in a network namespace.  Times are those at which the kernel
saw the packets on the bridge between them.  A time may be longer than the protocol says by the
tolerance, and by twice as much as a thread of this process was late.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from balancers.redundancy.vrrp import down_interval, skew_time
from tests.system.keepalived import ADDRESSES, LIMIT, Keepalived, Ours, Router, hosts
from tests.system.lab import Capture, Lab, Lateness, Seen, missing, wait_until

pytestmark = pytest.mark.deep

INTERVAL = 0.4
TOLERANCE = 0.3
HIGH, LOW = 150, 100
VERSIONS = tuple(ADDRESSES)


class Wire:
    """A lab with a bridge on which all is seen, and a client."""

    def __init__(self, lab: Lab, lateness: Lateness, capture: Capture) -> None:
        self.lab, self.lateness, self.capture = lab, lateness, capture
        self.left, self.right = lab.node("left"), lab.node("right")
        self.client = lab.node("client")

    def check_time(self, measured: float, least: float, most: float) -> None:
        """Check a time between two events on the wire, or in the log of our router."""
        allowed = TOLERANCE + 2 * self.lateness.worst
        assert least - TOLERANCE <= measured <= most + allowed, (measured, least, most, allowed)

    def adverts(self, router: Router, version: int, since: float = 0.0) -> list[Seen]:
        return self.capture.find(router.node, "advert", version, since=since)

    def pass_adverts(self, router: Router, count: int) -> None:
        """Wait until a router has sent further advertisements, in both families."""
        since = time.monotonic()
        for version in VERSIONS:
            self.capture.wait(
                router.node, "advert", version, since=since, within=LIMIT, count=count
            )

    def wait_active(self, router: Router, version: int, since: float) -> float:
        """Wait until a router is active and has the addresses; return when it became active."""
        first = self.capture.wait(router.node, "advert", version, since=since, within=LIMIT)
        assert first.priority == router.priority
        assert first.interval == router.interval
        wait_until(partial(router.has, version), LIMIT, f"{router.node.name} has the addresses")
        wait_until(
            lambda: self.announced(router, version, first.at) == hosts(version),
            LIMIT,
            f"{router.node.name} announces the addresses",
        )
        return first.at

    def announced(self, router: Router, version: int, since: float) -> set[str]:
        seen = self.capture.find(router.node, "announcement", version, since=since)
        return {each.address for each in seen}

    def check_takes_over(self, loser: Router, winner: Router, failed: float) -> None:
        """Check a takeover after silence, in both families."""
        for version in VERSIONS:
            at = self.wait_active(winner, version, failed)
            last = max(each.at for each in self.adverts(loser, version) if each.at < at)
            down = down_interval(winner.priority, INTERVAL)
            self.check_time(at - last, down, down)
            self.check_reached(winner, version)

    def check_hands_over(self, loser: Router, winner: Router, since: float) -> None:
        """Check a takeover by a higher priority: for how long both are active, in both families."""
        for version in VERSIONS:
            at = self.wait_active(winner, version, since)
            self.capture.wait(winner.node, "advert", version, since=at, within=LIMIT, count=3)
            wait_until(partial(loser.lacks, version), LIMIT, "the addresses are withdrawn")
            late = [each.at - at for each in self.adverts(loser, version, at)]
            self.check_time(max(late, default=0.0), 0.0, INTERVAL)
            self.check_reached(winner, version)

    def check_resigns(
        self, loser: Router, winner: Router, cause: Callable[[], None] | None = None
    ) -> None:
        """Let a router end, and check the takeover, in both families."""
        begun = time.monotonic()
        (cause or loser.resign)()
        for version in VERSIONS:
            at = self.wait_active(winner, version, begun)
            *_, last = (each for each in self.adverts(loser, version, begun) if each.at < at)
            assert last.priority == 0
            skew = skew_time(winner.priority, INTERVAL)
            self.check_time(at - last.at, skew, skew)
            wait_until(partial(loser.lacks, version), LIMIT, "the addresses are withdrawn")
            self.check_reached(winner, version)

    def check_reached(self, router: Router, version: int) -> None:
        """Check that a client reaches this router at the virtual address."""
        host = ADDRESSES[version][-1].partition("/")[0]
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with closing(self.client.socket(family, socket.SOCK_STREAM)) as client:
            client.settimeout(LIMIT)
            with pytest.raises(ConnectionRefusedError):  # it answers: no program has the port
                client.connect((host, 9))
        neighbours = self.client.run("ip", "neighbour", "show", host)
        assert router.node.mac in neighbours, neighbours


@pytest.fixture
def wire() -> Generator[Wire]:
    reason = missing("keepalived")
    if reason:
        pytest.skip(reason)
    with Lateness() as lateness, Lab() as lab, closing(Capture(lab.bridge)) as capture:
        yield Wire(lab, lateness, capture)


def test_ours_takes_over_from_keepalived_and_hands_back(wire: Wire, tmp_path: Path) -> None:
    theirs = Keepalived(wire.left, tmp_path, HIGH, INTERVAL)
    ours = Ours(wire.right, tmp_path, LOW, INTERVAL)
    begun = time.monotonic()
    theirs.start()
    for version in VERSIONS:
        wire.wait_active(theirs, version, begun)
        wire.check_reached(theirs, version)
    ours.start()
    for version in VERSIONS:
        ours.wait(version, "backup", begun)

    failed = time.monotonic()
    theirs.kill()
    wire.check_takes_over(theirs, ours, failed)

    back = time.monotonic()
    theirs.start()
    wire.check_hands_over(ours, theirs, back)
    for version in VERSIONS:
        assert ours.wait(version, "backup", back)["reason"] == "higher priority"

    frozen = time.monotonic()
    ours.freeze()
    wire.pass_adverts(theirs, 7)  # longer than the down interval
    ours.thaw()
    wire.pass_adverts(theirs, 3)
    assert not any(ours.changes(version, frozen) for version in VERSIONS)  # always a backup

    again = time.monotonic()
    wire.check_resigns(theirs, ours)
    for version in VERSIONS:
        assert ours.wait(version, "active", again)["reason"] == "resigned"


def test_ours_preempts_keepalived_which_takes_over_from_it(wire: Wire, tmp_path: Path) -> None:
    theirs = Keepalived(wire.left, tmp_path, LOW, INTERVAL)
    ours = Ours(wire.right, tmp_path, HIGH, INTERVAL)
    begun = time.monotonic()
    theirs.start()
    for version in VERSIONS:
        wire.wait_active(theirs, version, begun)
        wire.check_reached(theirs, version)

    started = time.monotonic()
    ours.start()
    wire.check_hands_over(theirs, ours, started)
    for version in VERSIONS:
        waited = ours.wait(version, "active", started)["at"] - ours.changes(version)[0]["at"]
        down = down_interval(HIGH, INTERVAL)
        wire.check_time(waited, down, down)

    failed = time.monotonic()
    ours.kill()
    wire.check_takes_over(ours, theirs, failed)

    back = time.monotonic()
    ours.start()
    wire.check_hands_over(theirs, ours, back)

    frozen = time.monotonic()
    ours.freeze()
    wire.check_takes_over(ours, theirs, frozen)

    woken = time.monotonic()
    ours.thaw()
    wire.check_hands_over(theirs, ours, woken)
    assert not any(
        ours.changes(version, frozen) for version in VERSIONS
    )  # it was active throughout

    wire.check_resigns(ours, theirs)


def test_a_lost_link_and_a_lost_proxy_hand_over(wire: Wire, tmp_path: Path) -> None:
    theirs = Keepalived(wire.left, tmp_path, LOW, INTERVAL)
    ours = Ours(wire.right, tmp_path, HIGH, INTERVAL)
    ours.options = ["--", "sleep", "1000"]
    begun = time.monotonic()
    theirs.start()
    ours.start()
    for version in VERSIONS:
        wire.wait_active(ours, version, begun)
        wire.check_reached(ours, version)

    unplugged = time.monotonic()
    wire.lab.link(ours.node, up=False)
    wire.check_takes_over(ours, theirs, unplugged)
    for version in VERSIONS:
        assert ours.wait(version, "init", unplugged)["reason"] == "link down"
        assert ours.lacks(version)

    plugged = time.monotonic()
    wire.lab.link(ours.node, up=True)
    wire.check_hands_over(theirs, ours, plugged)
    for version in VERSIONS:
        assert ours.changes(version, plugged)[0]["reason"] == "link up"

    (router,) = ours.node.processes
    children = Path(f"/proc/{router.pid}/task/{router.pid}/children").read_text().split()
    wire.check_resigns(ours, theirs, partial(os.kill, int(children[0]), signal.SIGKILL))
    assert router.wait(LIMIT) != 0


def test_two_adverts_of_three_may_be_lost_and_a_healed_partition_ends(
    wire: Wire, tmp_path: Path
) -> None:
    """The priority 1 has the longest skew, so a busy machine does not delay the third too much."""
    interval = 0.6
    theirs = Keepalived(wire.left, tmp_path, HIGH, interval)
    ours = Ours(wire.right, tmp_path, 1, interval)
    begun = time.monotonic()
    ours.start()
    for version in VERSIONS:
        ours.wait(version, "backup", begun)
    theirs.start()
    for version in VERSIONS:
        wire.wait_active(theirs, version, begun)
    wire.pass_adverts(theirs, 1)

    lossy = time.monotonic()
    ours.node.lose(*(f"meta nfproto ipv{version} numgen inc mod 3 < 2" for version in VERSIONS))
    wire.pass_adverts(theirs, 7)
    ours.node.lose_nothing()
    wire.pass_adverts(theirs, 1)
    for version in VERSIONS:
        assert ours.changes(version, lossy) == []

    apart = time.monotonic()
    ours.node.lose()
    down = down_interval(1, interval)
    for version in VERSIONS:
        active = ours.wait(version, "active", apart)["at"]
        last = max(each.at for each in wire.adverts(theirs, version) if each.at < apart)
        wire.check_time(active - last, down, down)
        assert ours.has(version)
        assert theirs.has(version)

    healed = time.monotonic()
    ours.node.lose_nothing()
    for version in VERSIONS:
        change = ours.wait(version, "backup", healed)
        assert change["reason"] == "higher priority"
        wire.check_time(change["at"] - healed, 0.0, interval)
        wait_until(partial(ours.lacks, version), LIMIT, "the addresses are withdrawn")
        assert theirs.has(version)


@pytest.mark.parametrize(("checksum", "agree"), [("plain", False), ("either", True)])
def test_keepalived_hears_only_the_checksum_with_a_pseudo_header(
    wire: Wire, tmp_path: Path, checksum: str, agree: bool
) -> None:
    theirs = Keepalived(wire.left, tmp_path, LOW, INTERVAL)
    ours = Ours(wire.right, tmp_path, HIGH, INTERVAL)
    ours.options = [f"--checksum={checksum}"]
    begun = time.monotonic()
    theirs.start()
    ours.start()
    for version in VERSIONS:
        wire.wait_active(ours, version, begun)
    if not agree:
        wire.wait_active(theirs, 4, begun)
    wire.pass_adverts(ours, 3)
    assert ours.has(4)
    assert theirs.lacks(4) if agree else theirs.has(4)
    assert ours.has(6)  # which has one checksum
    assert theirs.lacks(6)
