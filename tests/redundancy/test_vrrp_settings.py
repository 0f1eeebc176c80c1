"""What a caller passes to a virtual router: settings, times, datagrams and changes."""

from copy import copy
from ipaddress import ip_address
from math import inf, nan

import pytest

from balancers.errors import InvalidSetting, InvalidTime
from balancers.redundancy.vrrp import (
    Datagram,
    Send,
    StateChanged,
    VirtualRouter,
    decode,
)
from tests.redundancy.vrrp_packets import advert
from tests.redundancy.vrrp_routers import DOWN, OWN, SKEW, VIRTUAL, active, backup, packet


def test_a_new_priority_of_an_active_router_is_sent_at_once() -> None:
    router = active()
    (sent,) = router.reconfigure(4.0, priority=80)
    assert isinstance(sent, Send)
    assert decode(sent.datagram)[:3] == (51, 80, 100)
    assert router.due == 5.0
    (sent,) = router.reconfigure(4.25, interval=0.2)
    assert isinstance(sent, Send)
    assert decode(sent.datagram)[:3] == (51, 80, 20)
    assert (router.due, router.interval, router.priority) == (4.45, 0.2, 80)
    assert router.receive(packet(81), 4.5)[-1] == StateChanged(
        "active", "backup", "higher priority"
    )


def test_a_new_priority_of_a_backup_moves_its_timer() -> None:
    router = backup()
    assert router.reconfigure(1.0, priority=228) == ()
    assert router.due == DOWN - 0.5
    router.receive(packet(0), 2.0)
    router.reconfigure(2.0, priority=100)
    assert router.due == 2 + SKEW
    router.receive(packet(150, cs=50), 3.0)
    router.reconfigure(3.0, interval=2.0)
    assert router.due == 3 + DOWN / 2  # the interval of the active router counts


def test_a_router_that_does_not_run_can_be_changed() -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN)
    assert router.reconfigure(1.0, priority=255, interval=0.5) == ()
    assert router.due == inf
    assert router.startup(2.0)[-1] == StateChanged("init", "active", "owner")
    assert router.due == 2.5


@pytest.mark.parametrize("now", [nan, inf, -inf, 1e301, True, "1", None, 1j])
def test_a_time_that_is_no_time_changes_nothing(now: float) -> None:
    for router in (backup(), active()):
        before, drops = router.snapshot(4.0), dict(router.drops)
        for call in (
            lambda: router.startup(now),  # noqa: B023 - called in this round
            lambda: router.shutdown(now),  # noqa: B023 - called in this round
            lambda: router.link(False, now),  # noqa: B023 - called in this round
            lambda: router.tick(now),  # noqa: B023 - called in this round
            lambda: router.receive(packet(200), now),  # noqa: B023 - called in this round
            lambda: router.reconfigure(now, priority=1),  # noqa: B023 - called in this round
            lambda: router.snapshot(now),  # noqa: B023 - called in this round
            lambda: router.restore(before, now),  # noqa: B023 - called in this round
        ):
            with pytest.raises(InvalidTime):
                call()
        assert router.snapshot(4.0) == before
        assert router.priority == 100
        assert dict(router.drops) == drops


@pytest.mark.parametrize(
    "datagram",
    [
        None,
        b"",
        tuple(packet(200)),
        packet(200)._replace(payload=bytearray(12)),  # type: ignore[arg-type]  # on purpose
        packet(200)._replace(source="10.77.0.9"),  # type: ignore[arg-type]  # on purpose
        packet(200)._replace(destination=None),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_what_is_no_datagram_is_an_error_of_the_caller(datagram: Datagram) -> None:
    router = backup()
    with pytest.raises(TypeError, match="datagram must be a Datagram of bytes"):
        router.receive(datagram, 1000.0)
    assert router.tick(0.5) == ()  # the time has not changed either


@pytest.mark.parametrize("hop_limit", [None, -1, 254, 256, 1 << 5000, nan])
def test_a_hop_limit_that_is_not_255_is_dropped(hop_limit: int) -> None:
    router = backup()
    router.receive(packet(200)._replace(hop_limit=hop_limit), 1.0)
    assert router.drops["hop limit"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vrid": 0}, "vrid"),
        ({"vrid": 256}, "vrid"),
        ({"vrid": "51"}, "vrid"),
        ({"priority": 0}, "priority"),
        ({"priority": 256}, "priority"),
        ({"priority": -1}, "priority"),
        ({"priority": 100.0}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": 1 << 5000}, "priority"),
        ({"interval": 0}, "interval"),
        ({"interval": 0.0}, "interval"),
        ({"interval": -1}, "interval"),
        ({"interval": 0.001}, "interval"),
        ({"interval": 1.005}, "interval"),
        ({"interval": 40.96}, "interval"),
        ({"interval": nan}, "interval"),
        ({"interval": inf}, "interval"),
        ({"interval": "1"}, "interval"),
        ({"interval": True}, "interval"),
        ({"interval": 1 << 5000}, "interval"),
        ({"preempt": 1}, "preempt"),
        ({"answer_lower": None}, "answer_lower"),
        ({"preempt_delay": -1.0}, "preempt_delay"),
        ({"preempt_delay": nan}, "preempt_delay"),
        ({"preempt_delay": inf}, "preempt_delay"),
        ({"preempt_delay": 1.0, "preempt": False}, "preempt_delay"),
        ({"checksum": "none"}, "checksum"),
        ({"checksum": None}, "checksum"),
        ({"source": "10.77.0"}, "source"),
        ({"source": None}, "source"),
        ({"source": 7}, "source"),
        ({"source": "224.0.0.18"}, "source"),
        ({"source": "::"}, "source"),
        ({"source": "fe80::1"}, "addresses"),
        ({"addresses": []}, "addresses"),
        ({"addresses": None}, "addresses"),
        ({"addresses": VIRTUAL}, "addresses"),
        ({"addresses": ["x"]}, "addresses"),
        ({"addresses": [VIRTUAL, "fe80::1"]}, "addresses"),
        ({"addresses": [VIRTUAL, VIRTUAL]}, "addresses"),
        ({"addresses": ["224.0.0.1"]}, "addresses"),
        ({"addresses": [f"10.0.{i}.{j}" for i in range(2) for j in range(128)]}, "addresses"),
        ({"source": "fe80::1", "addresses": ["fd77::1"]}, "addresses"),
        ({"source": "fd77::1", "addresses": ["fe80::77"]}, "source"),
        ({"peers": "10.77.0.9"}, "peers"),
        ({"peers": None}, "peers"),
        ({"peers": [OWN]}, "peers"),
        ({"peers": ["fe80::9"]}, "peers"),
        ({"peers": ["10.77.0.9", "10.77.0.9"]}, "peers"),
        ({"peers": ["224.0.0.18"]}, "peers"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"vrid": 51, "addresses": [VIRTUAL], "source": OWN}
    with pytest.raises(InvalidSetting, match=message):
        VirtualRouter(**settings | change)  # type: ignore[arg-type]  # on purpose


def test_unicast_is_sent_from_any_address() -> None:
    router = VirtualRouter(51, ["fe80::77", "fd77::1"], "fd77::2", peers=["2001:db8::9"])
    router.startup(0.0)
    sent = router.tick(DOWN)[0]
    assert isinstance(sent, Send)
    assert sent.datagram == advert(
        "fd77::2", ["fe80::77", "fd77::1"], destination="2001:db8::9", hop_limit=64
    )
    higher = advert("2001:db8::9", ["fe80::77"], priority=101, destination="fd77::2", hop_limit=9)
    assert router.receive(higher, 4.0)[-1] == StateChanged("active", "backup", "higher priority")
    for first in ("fd77::1", "fd77::2"):
        with pytest.raises(InvalidSetting, match="the first of addresses must be link-local"):
            VirtualRouter(51, [first], "fd77::2", peers=["2001:db8::9"])


@pytest.mark.parametrize(
    "change", [{"priority": 0}, {"priority": 256}, {"interval": 0.0}, {"interval": 41.0}]
)
def test_a_wrong_change_changes_nothing(change: dict[str, int]) -> None:
    router = active()
    before = router.snapshot(4.0)
    with pytest.raises(InvalidSetting):
        router.reconfigure(1000.0, **{"priority": 50, "interval": 2.0} | change)  # type: ignore[arg-type]  # on purpose
    assert (router.snapshot(4.0), router.priority, router.interval) == (before, 100, 1.0)


def test_the_link_is_up_or_down() -> None:
    for up in (1, None, "up"):
        with pytest.raises(InvalidSetting, match="up must be a bool"):
            active().link(up, 4.0)  # type: ignore[arg-type]  # on purpose


def test_255_addresses_fit() -> None:
    addresses = [f"10.0.0.{last}" for last in range(1, 256)]
    router = VirtualRouter(51, addresses, OWN)
    router.startup(0.0)
    sent = router.tick(DOWN)[0]
    assert isinstance(sent, Send)
    assert len(decode(sent.datagram).addresses) == 255


def test_addresses_of_every_type_and_with_a_zone() -> None:
    for source in ("fe80::2%eth0", ip_address("fe80::2"), ip_address("fe80::2").packed):
        router = VirtualRouter(51, ["fe80::77%eth0", ip_address("fd77::1")], source)
        assert router.addresses == (ip_address("fe80::77"), ip_address("fd77::1"))
        router.startup(0.0)
        sent = router.tick(DOWN)[0]
        assert isinstance(sent, Send)
        assert sent.datagram.source == ip_address("fe80::2").packed


def test_counts_cannot_be_changed_from_outside_and_are_not_shared_by_copies() -> None:
    router = active()
    twin = copy(router)
    twin.receive(packet(200)._replace(hop_limit=1), 4.0)
    assert (twin.drops["hop limit"], router.drops["hop limit"]) == (1, 0)
    with pytest.raises(TypeError):
        router.drops["version"] = 7  # type: ignore[index]  # on purpose
    assert repr(router) == "<VirtualRouter 51: active, priority 100>"
    assert (router.vrid, router.mac.hex(":")) == (51, "00:00:5e:00:01:33")


def test_a_timer_that_is_due_stays_due() -> None:
    for now, due in ((DOWN - 0.25, DOWN + 0.375), (DOWN, DOWN), (DOWN + 1, DOWN)):
        router = backup()
        router.reconfigure(now, priority=4)
        assert router.due == due


@pytest.mark.parametrize("received", [packet(150, cs=200), packet(0), packet(50), packet(1)])
def test_a_snapshot_is_restored_at_any_time(received: Datagram) -> None:
    for router in (backup(preempt_delay=2.0), active(preempt_delay=2.0)):
        router.receive(received, 4.0)
        before = router.snapshot(4.5)
        for now in (4.5, -100.0, 1000.0):
            other = VirtualRouter(51, [VIRTUAL], OWN, preempt_delay=2.0)
            other.restore(before, now)
            assert other.snapshot(now) == before
            assert other.state == router.state
            assert other.startup(now) == ()


def test_the_times_of_a_snapshot_are_never_negative() -> None:
    router = backup(preempt_delay=0.5)
    router.receive(packet(50), 1.0)
    late = router.snapshot(100.0)
    assert (late.remaining, late.preempt_in) == (0.0, 0.0)
