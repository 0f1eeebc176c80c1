"""The transitions and timers of a virtual router, one rule after the other."""

from ipaddress import ip_address
from math import inf

import pytest

from balancers.redundancy.vrrp import (
    Announce,
    Datagram,
    Install,
    Send,
    StateChanged,
    VirtualRouter,
    Withdraw,
    decode,
)
from tests.redundancy.vrrp_packets import advert
from tests.redundancy.vrrp_routers import DOWN, OWN, SKEW, VIRTUAL, active, backup, names, packet


def test_a_takeover_sends_first_and_then_installs_and_announces_all() -> None:
    addresses = [f"10.77.0.{last}" for last in (100, 7, 250)]
    router = VirtualRouter(51, addresses, OWN)
    assert names(router.startup(0.0)) == ["Withdraw"] * 3 + ["StateChanged"]
    actions = router.tick(DOWN)
    assert names(actions) == ["Send", *["Install"] * 3, *["Announce"] * 3, "StateChanged"]
    virtual = [ip_address(address) for address in addresses]
    assert [a.address for a in actions if isinstance(a, Install)] == virtual
    assert [a.address for a in actions if isinstance(a, Announce)] == virtual
    assert actions[-1] == StateChanged("backup", "active", "silence")
    sent = actions[0]
    assert isinstance(sent, Send)
    assert sent.datagram == advert(OWN, addresses, priority=100, cs=100)


def test_the_owner_is_active_at_once() -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN, priority=255, preempt=False)
    actions = router.startup(3.0)
    assert names(actions) == ["Send", "Install", "Announce", "StateChanged"]
    assert actions[-1] == StateChanged("init", "active", "owner")
    assert router.due == 4.0


def test_an_owner_lets_the_election_decide_about_a_second_owner() -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN, priority=255)
    router.startup(0.0)
    assert names(router.receive(packet(255, source="10.77.0.1"), 0.5)) == ["Send", "Announce"]
    assert router.receive(packet(255), 0.75)[-1] == StateChanged(
        "active", "backup", "higher address"
    )
    assert router.notices["another owner"] == 2
    router.receive(packet(254), 1.0)  # the owner does not accept a lower one, even as a backup
    assert router.due == 0.75 + 3 + 1 / 256


@pytest.mark.parametrize("preempt", [True, False])
def test_a_second_startup_or_shutdown_does_nothing(preempt: bool) -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN, preempt=preempt)
    assert router.shutdown(0.0) == ()
    router.startup(1.0)
    due = router.due
    assert router.startup(2.0) == ()
    assert router.due == due == 1 + DOWN
    assert router.shutdown(3.0) == (StateChanged("backup", "init", "shutdown"),)
    assert router.shutdown(3.0) == ()
    assert (router.state, router.due) == ("init", inf)
    assert router.tick(1e9) == ()


def test_an_active_router_resigns_by_the_priority_0() -> None:
    router = active()
    sent, *rest = router.shutdown(5.0)
    assert isinstance(sent, Send)
    assert decode(sent.datagram).priority == 0
    assert rest == [
        Withdraw(ip_address(VIRTUAL)),
        StateChanged("active", "init", "shutdown"),
    ]
    other = backup()
    other.receive(sent.datagram._replace(source=bytes([10, 77, 0, 9])), 1.0)
    assert other.drops["checksum"] == 1  # the checksum covers the source
    other = VirtualRouter(51, [VIRTUAL], "10.77.0.1")
    other.startup(0.0)
    other.receive(sent.datagram, 1.0)
    assert other.due == 1 + SKEW
    assert other.tick(other.due)[-1] == StateChanged("backup", "active", "resigned")


def test_without_a_link_nothing_can_be_sent() -> None:
    router = active()
    assert names(router.link(False, 5.0)) == ["Withdraw", "StateChanged"]
    assert (router.state, router.due) == ("init", inf)
    assert router.link(False, 6.0) == ()
    assert router.receive(packet(200), 6.0) == ()
    assert router.drops["not running"] == 1
    actions = router.link(True, 7.0)
    assert actions[-1] == StateChanged("init", "backup", "link up")
    assert router.due == 7 + DOWN
    assert router.link(True, 8.0) == ()


def test_a_link_that_comes_back_forgets_the_learned_interval() -> None:
    router = backup()
    router.receive(packet(150, cs=25), 1.0)
    assert (router.active_interval, router.due) == (0.25, 1 + DOWN / 4)
    assert router.link(False, 2.0) == (StateChanged("backup", "init", "link down"),)
    router.link(True, 3.0)
    assert (router.active_interval, router.due) == (1.0, 3 + DOWN)


def test_startup_and_shutdown_without_a_link() -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN, priority=255)
    assert router.link(False, 0.0) == ()
    assert router.startup(1.0) == ()
    assert router.state == "init"
    assert router.startup(1.0) == ()
    assert router.shutdown(2.0) == ()
    assert router.link(True, 3.0) == ()  # because of the shutdown
    assert router.link(False, 4.0) == ()
    assert router.startup(5.0) == ()
    assert router.link(True, 6.0)[-1] == StateChanged("init", "active", "owner")


def test_a_late_timer_counts_from_now_without_a_burst() -> None:
    router = backup()
    assert names(router.tick(1000.0)) == ["Send", "Install", "Announce", "StateChanged"]
    assert router.due == 1001.0
    assert names(router.tick(5000.5)) == ["Send"]
    assert router.due == 5001.5
    assert router.tick(5001.4) == ()


@pytest.mark.parametrize(
    ("priority", "preempt", "restarts"),
    [
        (1, True, False),
        (99, True, False),
        (100, True, True),
        (101, True, True),
        (255, True, True),
        (1, False, True),
        (99, False, True),
        (100, False, True),
    ],
)
def test_what_restarts_the_down_timer(priority: int, preempt: bool, restarts: bool) -> None:
    router = backup(preempt=preempt)
    assert router.receive(packet(priority, cs=200), 1.0) == ()
    assert router.due == (1 + 2 * DOWN if restarts else DOWN)
    assert router.active_interval == (2.0 if restarts else 1.0)


def test_a_resignation_does_not_teach_its_interval() -> None:
    router = backup()
    router.receive(packet(150, cs=200), 1.0)
    router.receive(packet(0, cs=400), 2.0)
    assert (router.active_interval, router.due) == (2.0, 2 + 2 * SKEW)
    router.receive(packet(150, cs=50), 3.0)  # the active router is back
    assert router.due == 3 + DOWN / 2


@pytest.mark.parametrize("preempt", [True, False])
def test_an_active_router_yields_to_a_higher_one_even_without_preempt(preempt: bool) -> None:
    router = active(preempt=preempt)
    assert router.receive(packet(101, cs=50), 5.0) == (
        Withdraw(ip_address(VIRTUAL)),
        StateChanged("active", "backup", "higher priority"),
    )
    assert (router.active_interval, router.due) == (0.5, 5 + DOWN / 2)


@pytest.mark.parametrize(
    ("own", "other", "yields"),
    [
        ("10.77.0.2", "10.77.0.3", True),
        ("10.77.0.2", "10.77.0.1", False),
        ("10.77.0.2", "9.255.255.255", False),
        ("10.77.0.2", "200.0.0.1", True),  # unsigned
        ("127.255.255.255", "128.0.0.0", True),
        ("fe80::2", "fe80::3", True),
        ("fe80::2", "fe80::1", False),
        ("fe80::2", "fe80::8000:0:0:1", True),
        ("fe80::8000:0:0:1", "fe80::2", False),
        ("fe80::ff00", "fe80::100:0", True),
    ],
)
def test_equal_priorities_are_decided_by_the_address(own: str, other: str, yields: bool) -> None:
    addresses = ["fe80::77"] if ":" in own else [VIRTUAL]
    router = VirtualRouter(51, addresses, own)
    router.startup(0.0)
    router.tick(DOWN)
    actions = router.receive(advert(other, addresses), 4.0)
    assert router.state == ("backup" if yields else "active")
    assert names(actions) == (["Withdraw", "StateChanged"] if yields else ["Send", "Announce"])


@pytest.mark.parametrize("answer_lower", [True, False])
def test_an_active_router_answers_a_lower_one_or_is_silent(answer_lower: bool) -> None:
    router = active(answer_lower=answer_lower)
    due = router.due
    actions = router.receive(packet(99), 4.0)
    assert names(actions) == (["Send", "Announce"] if answer_lower else [])
    assert router.due == (5.0 if answer_lower else due)
    assert names(router.receive(packet(0), 4.25)) == ["Send"]  # both RFCs answer a resignation
    assert router.due == 5.25


def test_preempt_delay_counts_from_the_first_lower_advertisement() -> None:
    router = backup(preempt_delay=3.0)
    for at in (1.0, 2.0, 3.0, 3.75):
        router.receive(packet(50), at)
        assert router.due == at + DOWN
    router.receive(packet(50), 4.0)  # the delay has ended: only the rest of the timer runs
    router.receive(packet(50), 5.0)
    assert router.due == 3.75 + DOWN


def test_an_advertisement_that_is_not_lower_ends_the_delay() -> None:
    router = backup(preempt_delay=3.0)
    router.receive(packet(50), 1.0)
    router.receive(packet(100), 3.0)
    router.receive(packet(50), 4.5)  # the delay begins again
    assert router.due == 4.5 + DOWN
    router.receive(packet(50), 7.25)
    assert router.due == 7.25 + DOWN
    router.receive(packet(50), 7.5)
    assert router.due == 7.25 + DOWN


def test_preempt_delay_is_for_a_living_active_router_only() -> None:
    router = backup(preempt_delay=1000.0)
    router.receive(packet(50), 1.0)
    assert router.due == 1 + DOWN
    router.receive(packet(0), 2.0)
    assert router.due == 2 + SKEW


def test_a_time_that_goes_backwards_counts_as_the_latest_one() -> None:
    router = backup()
    router.receive(packet(150), 10.0)
    router.receive(packet(150), 5.0)
    assert router.due == 10 + DOWN
    assert router.tick(0.0) == ()
    assert router.shutdown(-5.0) == (StateChanged("backup", "init", "shutdown"),)
    router.startup(1.0)
    assert router.due == 10 + DOWN


@pytest.mark.parametrize("received", [packet(150, cs=200), packet(0), packet(50)])
def test_an_active_router_has_forgotten_what_it_received_as_a_backup(received: Datagram) -> None:
    usual = active(preempt_delay=2.0).snapshot(DOWN)
    router = backup(preempt_delay=2.0)
    router.receive(received, 0.5)
    router.tick(router.due)
    assert router.snapshot(router.due - 1.0) == usual
    assert router.active_interval == 1.0


def test_a_second_delay_of_the_preemption_begins_after_a_time_as_the_active_router() -> None:
    router = backup(preempt_delay=2.0)
    router.receive(packet(50), 1.0)
    router.tick(router.due)
    router.receive(packet(200), 10.0)
    router.receive(packet(50), 11.0)
    assert router.due == 11 + DOWN


def test_a_router_that_has_stopped_has_forgotten_what_it_received() -> None:
    usual = VirtualRouter(51, [VIRTUAL], OWN, preempt_delay=2.0).snapshot(0.0)
    for received in (packet(150, cs=200), packet(0), packet(50)):
        router = backup(preempt_delay=2.0)
        router.receive(received, 0.5)
        router.shutdown(1.0)
        assert router.snapshot(1.0) == usual


def test_a_lower_advertisement_changes_nothing_without_a_delay() -> None:
    router = backup()
    before = router.snapshot(1.0)
    router.receive(packet(50), 1.0)
    assert router.snapshot(1.0) == before


def test_a_delay_does_not_hold_the_owner_back() -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN, priority=255, preempt_delay=1000.0)
    router.startup(0.0)
    router.receive(packet(255), 1.0)
    assert router.state == "backup"
    due = router.due
    router.receive(packet(254), 2.0)
    assert router.due == due
