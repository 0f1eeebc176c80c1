"""Two active routers meet: the one that stays active makes hosts send to it again."""

import pytest

from balancers.redundancy.vrrp import Announce, Send, VirtualRouter, Withdraw

FAMILIES = {
    4: (["10.77.0.100", "10.77.0.101"], "10.77.0.1", "10.77.0.2"),
    6: (["fe80::100", "fd77::100"], "fe80::1", "fe80::2"),
}


def pair(
    family: int, *, answer_lower: bool = True, equal: bool = False
) -> tuple[VirtualRouter, VirtualRouter]:
    """Return two active routers; the first one wins."""
    addresses, low, high = FAMILIES[family]
    first = VirtualRouter(
        51, addresses, high, priority=100 if equal else 150, answer_lower=answer_lower
    )
    second = VirtualRouter(51, addresses, low, priority=100)
    for router in (first, second):
        router.startup(0.0)
        router.tick(router.due)
        assert router.state == "active"
    return first, second


def advert(router: VirtualRouter) -> Send:
    (sent,) = router.tick(router.due)
    assert isinstance(sent, Send)
    return sent


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("family", [4, 6])
def test_the_one_that_stays_answers_and_announces_all_addresses(family: int, equal: bool) -> None:
    first, second = pair(family, equal=equal)
    answer, *rest = first.receive(advert(second).datagram, 10.0)
    assert rest == [Announce(address) for address in first.addresses]
    assert isinstance(answer, Send)
    assert first.due == 11.0
    *withdrawn, _ = second.receive(answer.datagram, 10.0)
    assert withdrawn == [Withdraw(address) for address in second.addresses]
    assert (first.state, second.state) == ("active", "backup")


@pytest.mark.parametrize("family", [4, 6])
def test_it_is_silent_as_rfc_5798_says(family: int) -> None:
    first, second = pair(family, answer_lower=False)
    due = first.due
    assert first.receive(advert(second).datagram, 5.0) == ()
    assert (first.state, first.due) == ("active", due)


@pytest.mark.parametrize("family", [4, 6])
def test_it_answers_a_resignation_without_announcements(family: int) -> None:
    first, second = pair(family)
    resigned = second.shutdown(5.0)[0]
    assert isinstance(resigned, Send)
    (answer,) = first.receive(resigned.datagram, 5.0)
    assert isinstance(answer, Send)
