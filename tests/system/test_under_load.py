"""The proxy of the examples under load, while a backend is killed, frozen, or answers 500.

Trouble strikes in the middle of a run of wrk.  The run after the proxy noticed sees no error and
the struck backend no request; the run after its recovery sees no error, and a backend that serves
again; and at the end the books of the pool are held against what the backends counted themselves.
"""

import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack
from math import ceil
from pathlib import Path

import pytest

from tests.system.processes import CONNECTIONS, Backend, Load, Proxy, Report, Sent, Served, until
from tests.system.programs import program

INTERVAL, TIMEOUT, FALL, RISE = 1.2, 1.0, 3, 2
FAIL_TIMEOUT, ANSWER_TIMEOUT = 1.0, 1.5
SETTINGS = {
    "interval": INTERVAL,
    "timeout": TIMEOUT,
    "fall": FALL,
    "rise": RISE,
    "fail-timeout": FAIL_TIMEOUT,
    "answer-timeout": ANSWER_TIMEOUT,
}

# What these imply, in seconds: the next probe comes within an interval and its jitter, each that
# confirms it as soon as the one before was answered or timed out, and the last has its time too.
DOWN = INTERVAL * 1.1 + (FALL - 1) * TIMEOUT + TIMEOUT
UP = max(INTERVAL * 1.1 + (RISE - 1) * TIMEOUT + TIMEOUT, FAIL_TIMEOUT)
SLACK = 6  # for a busy machine

SOME, MANY = 50, 500  # requests
BACKENDS = 3
FAIR = ceil(CONNECTIONS / BACKENDS)  # in flight, where the least busy is picked
UNHEARD = CONNECTIONS + FALL
"""How many requests a backend can leave unanswered: FALL close it, and then as many may be out as
there are connections."""


class House:
    """Three backends behind the proxy; the first is to be struck."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stack = stack
        self.backends = [Backend(folder, number) for number in range(1, BACKENDS + 1)]
        self.struck, *self.others = self.backends
        self.proxy = Proxy(folder)
        self.reports: list[Report] = []
        for process in (*self.backends, self.proxy):
            stack.callback(process.end)
        for backend in self.backends:
            backend.run()
        self.proxy.run(self.backends, SETTINGS)

    def load(self) -> Load:
        load = Load(program("wrk", "wrk"), self.proxy.name)
        self.stack.callback(load.end)
        return load

    def end(self, load: Load) -> Report:
        """Stop a run, and wait until what it left behind is served."""
        report = load.stop()
        self.reports.append(report)
        until(self.idle, 10 * SLACK * ANSWER_TIMEOUT, "nothing is in flight by the pool's books")
        return report

    def idle(self) -> bool:
        return not any(sent.in_flight for sent in self.proxy.counts().values())

    def wait_for(self, more: int, backends: list[Backend], within: float = 20.0) -> None:
        """Wait until so many more requests were answered by these."""
        before = sum(backend.counts().answered for backend in backends)

        def served() -> bool:
            return sum(backend.counts().answered for backend in backends) >= before + more

        until(served, within, f"{more} more requests are answered")

    def strike(self, strike: Callable[[], None]) -> Report:
        """Strike in the middle of a run; give what its clients saw."""
        load = self.load()
        self.wait_for(SOME, [self.struck])
        strike()
        until(lambda: not self.healthy(), SLACK * DOWN, "the proxy tells that it is unhealthy")
        self.wait_for(SOME, self.others)
        return self.end(load)

    def healthy(self) -> bool:
        """Whether the proxy told of no failing that it has not told the end of."""
        began, ended = (self.proxy.told("unhealthy", each, self.struck) for each in (True, False))
        return began == ended

    def assert_that_clients_notice_nothing(self) -> None:
        """No error in a run of many requests, and not one was tried where the trouble is."""
        before = self.proxy.counts()[self.struck.name]
        load = self.load()
        self.wait_for(MANY, self.others)
        report = self.end(load)
        assert report.errors == 0, report
        assert report.requests >= MANY - CONNECTIONS
        assert self.proxy.counts()[self.struck.name] == before

    def assert_that_it_serves_again(self) -> None:
        """Within its bound, without an error, and with no more at once than is fair."""
        self.struck.forget_most()
        load = self.load()
        self.wait_for(SOME, [self.struck], SLACK * UP)
        self.wait_for(SOME, self.others)
        report = self.end(load)
        assert report.errors == 0, report
        assert 0 < self.struck.counts().most <= FAIR

    def end_of_books(self) -> tuple[Sent, Served]:
        """Stop the proxy; hold all books against each other; give those of the struck backend."""
        books = self.proxy.stop()
        assert set(books) == {backend.name for backend in self.backends}
        for sent in books.values():
            assert sent.in_flight == 0
            assert sent.sent == sent.ok + sent.failed + sent.unknown
        for backend in self.others:  # never in trouble: every request sent there began and ended
            sent, served = books[backend.name], backend.counts()
            assert (sent.failed, sent.unknown) == (0, 0)
            assert (sent.sent, sent.ok, sent.answered) == (served.begun, served.ok, served.answered)
        # What wrk counted was answered; so were the requests that were out as it ended a run.
        answered = sum(sent.answered for sent in books.values())
        counted = sum(report.requests for report in self.reports)
        assert counted <= answered <= counted + CONNECTIONS * len(self.reports)
        return books[self.struck.name], self.struck.counts()


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


def test_a_killed_backend_costs_no_client_anything(house: House) -> None:
    seen = house.strike(lambda: house.struck.signal(signal.SIGKILL))
    assert seen.errors == 0, seen  # what was in flight there was served by another
    house.assert_that_clients_notice_nothing()
    house.struck.run()
    house.assert_that_it_serves_again()
    sent, served = house.end_of_books()
    assert sent.unknown == 0
    assert sent.failed == sent.silent <= UNHEARD
    # It counts before it answers: what it counted last may have died with it, on its way out.
    assert 0 <= served.answered - sent.answered <= sent.silent
    # A request began there or was refused, and began to no end only where the proxy heard of none.
    assert sent.answered <= served.begun <= sent.sent
    assert 0 <= served.begun - served.answered <= sent.silent


def test_a_frozen_backend_costs_no_client_more_than_time(house: House) -> None:
    seen = house.strike(lambda: house.struck.signal(signal.SIGSTOP))
    assert seen.errors == 0, seen  # wrk waits 10 s for an answer, the proxy 1.5
    house.assert_that_clients_notice_nothing()
    house.struck.signal(signal.SIGCONT)
    # Thawed, it answers what lay in its sockets, though the proxy has given up long since: each
    # request sent there is begun and answered once, and those are the ones that failed in silence.
    sent = house.proxy.counts()[house.struck.name]
    assert 0 < sent.failed == sent.silent <= UNHEARD
    until(lambda: house.struck.counts().begun == sent.sent, SLACK, "it begins what lay there")
    until(lambda: house.struck.counts().answered == sent.sent, SLACK, "it ends what lay there")
    house.assert_that_it_serves_again()
    sent, served = house.end_of_books()
    assert sent.unknown == 0
    assert sent.failed == sent.silent <= UNHEARD
    assert served.begun == served.answered == sent.sent == sent.answered + sent.silent


def test_a_backend_that_answers_500_is_left_alone(house: House) -> None:
    seen = house.strike(lambda: house.struck.signal(signal.SIGUSR1))
    assert seen == Report(seen.requests, 0, 0, 0, 0, seen.status)  # a status, and nothing worse
    assert 0 < seen.status <= UNHEARD
    house.assert_that_clients_notice_nothing()
    house.struck.signal(signal.SIGUSR2)
    house.assert_that_it_serves_again()
    sent, served = house.end_of_books()
    # It answered every request, so its books are the pool's, the failures too: clients saw them.
    assert (sent.unknown, sent.silent) == (0, 0)
    assert (sent.sent, sent.ok, sent.failed) == (served.begun, served.ok, served.failed)
    assert seen.status == served.failed


@pytest.mark.parametrize(
    ("strike", "mend"),
    [
        (signal.SIGKILL, None),
        (signal.SIGSTOP, signal.SIGCONT),
        (signal.SIGUSR1, signal.SIGUSR2),
    ],
    ids=["killed", "frozen", "500"],
)
def test_probes_alone_notice_trouble_and_its_end(
    house: House, strike: signal.Signals, mend: signal.Signals | None
) -> None:
    house.struck.signal(strike)
    until(lambda: not house.healthy(), SLACK * DOWN, "the proxy tells that it is unhealthy")
    house.struck.run() if mend is None else house.struck.signal(mend)
    until(house.healthy, SLACK * UP, "the proxy tells that it is healthy again")
    for backend in house.backends:  # and no probe is in anyone's books
        assert not any(house.proxy.counts()[backend.name])
        assert not any(backend.counts())
