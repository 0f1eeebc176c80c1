"""Timers and bounds of VRRP, exactly, and reached by routers that run into them."""

from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest

from balancers.errors import InvalidSetting
from balancers.redundancy.vrrp import (
    Datagram,
    Send,
    VirtualRouter,
    down_interval,
    longest_with_two_actives,
    longest_without_active,
    skew_time,
)
from balancers.redundancy.vrrp.timers import centiseconds
from tests.redundancy.vrrp_packets import advert


@pytest.mark.parametrize(
    ("interval", "priority", "skew", "down"),
    [
        (1.0, 255, 0.00390625, 3.00390625),
        (1.0, 254, 0.0078125, 3.0078125),
        (1.0, 150, 0.4140625, 3.4140625),
        (1.0, 100, 0.609375, 3.609375),
        (0.5, 100, 0.3046875, 1.8046875),
        (0.1, 1, 0.099609375, 0.399609375),
        (0.01, 100, 0.00609375, 0.03609375),
        (40.95, 1, 40.7900390625, 163.6400390625),
    ],
)
def test_known_timers(interval: float, priority: int, skew: float, down: float) -> None:
    assert skew_time(priority, interval) == skew
    assert down_interval(priority, interval) == down


def test_every_timer_is_the_exact_value_rounded_once() -> None:
    for cs in (*range(1, 300), *range(300, 4096, 97), 4095):
        for priority in (1, 2, 99, 100, 128, 150, 253, 254, 255):
            skew = Fraction((256 - priority) * cs, 25600)
            interval = cs / 100
            assert skew_time(priority, interval) == float(skew)
            assert down_interval(priority, interval) == float(skew + Fraction(3 * cs, 100))
            assert 3 <= down_interval(priority, interval) / interval < 4


def test_every_interval_of_a_packet_can_be_given_as_it_is_printed() -> None:
    for cs in range(1, 4096):
        assert centiseconds(cs / 100) == cs
        assert centiseconds(float(f"{cs // 100}.{cs % 100:02}")) == cs
        assert centiseconds(Fraction(cs, 100)) == cs  # type: ignore[arg-type]  # a number
    for wrong in (0, 0.009, 40.951, 41, 0.1 + 0.2, Fraction(1, 3), -1, inf, nan, 10**400, "1"):
        with pytest.raises(InvalidSetting, match="interval"):
            centiseconds(wrong)  # type: ignore[arg-type]  # on purpose


def test_wrong_arguments_of_the_timers_and_bounds_are_refused() -> None:
    for function in (skew_time, down_interval, longest_without_active):
        for priority in (0, 256, 100.0, True, "1"):
            with pytest.raises(InvalidSetting, match="priority"):
                function(priority, 1.0)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(InvalidSetting, match="interval"):
            function(100, 0)
    wrong: list[dict[str, Any]] = [{"delay": -1}, {"delay": nan}, {"late": inf}, {"late": "1"}]
    for fields in wrong:
        with pytest.raises(InvalidSetting, match="must be"):
            longest_without_active(100, 1.0, **fields)
        with pytest.raises(InvalidSetting, match="must be"):
            longest_with_two_actives(1.0, **fields)
    for lost in (-1, 0.5, True, 10**400):
        with pytest.raises(InvalidSetting, match="lost"):
            longest_with_two_actives(1.0, lost=lost)  # type: ignore[arg-type]  # on purpose


def sent(router: VirtualRouter, now: float) -> Datagram:
    action = router.tick(now)[0]
    assert isinstance(action, Send)
    return action.datagram


def router(priority: int, source: str, **settings: bool) -> VirtualRouter:
    made = VirtualRouter(51, ["10.77.0.100"], source, priority=priority, **settings)  # type: ignore[arg-type]  # of bools
    made.startup(0.0)
    return made


@pytest.mark.parametrize("priority", [1, 100, 254])
def test_the_bound_without_an_active_router_is_reached(priority: int) -> None:
    """The active router fails just after it has sent; its last packet is as late as possible."""
    delay, late = 0.25, 0.125
    backup = router(priority, "10.77.0.1")
    last = advert("10.77.0.9", ["10.77.0.100"], priority=255)
    backup.receive(last, 0.5 + delay)
    bound = longest_without_active(priority, 1.0, delay=delay, late=late)
    assert backup.due + late == 0.5 + bound
    backup.tick(0.5 + bound)
    assert backup.state == "active"


@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("answer_lower", [True, False])
def test_the_bound_with_two_active_routers_is_reached(lost: int, answer_lower: bool) -> None:
    """The winner has just sent its last packet that did not arrive; its timers are late."""
    delay, late = 0.25, 0.125
    winner, loser = (
        router(priority, source, answer_lower=answer_lower)
        for priority, source in ((150, "10.77.0.1"), (100, "10.77.0.2"))
    )
    loser.tick(4.0)
    sent(winner, 4.0)
    now = 4.0
    for _ in range(lost + 1):
        now = winner.due + late
        datagram = sent(winner, now)
    assert [loser.state, winner.state] == ["active", "active"]
    loser.receive(datagram, now + delay)  # pyright: ignore[reportPossiblyUnboundVariable]  # lost >= 0
    assert [loser.state, winner.state] == ["backup", "active"]
    bound = longest_with_two_actives(1.0, delay=delay, late=late, lost=lost)
    assert now + delay == 4.0 + bound


@pytest.mark.parametrize("priority", [1, 100, 254])
def test_two_lost_advertisements_never_cause_a_takeover_and_four_always_do(priority: int) -> None:
    """The third one must arrive within the skew time of its time."""
    for jitter in (0.0, 0.9):
        backup = router(priority, "10.77.0.1")
        advertised = advert("10.77.0.9", ["10.77.0.100"], priority=255)
        backup.receive(advertised, 1.0)
        at = 4.0 + jitter * skew_time(priority, 1.0)
        assert backup.tick(at) == ()
        backup.receive(advertised, at)
        assert backup.tick(at + down_interval(priority, 1.0) - 1e-6) == ()
        assert backup.tick(at + 4.0) != ()
