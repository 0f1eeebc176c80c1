"""The proxy of the examples under load, while a backend is killed, frozen, or answers 500.

The target backend fails in the middle of a run of wrk.  In the next run, after the proxy detected
this, clients see no error and the target gets no request.  In the run after its recovery, clients
see no error and the target serves requests again.  At the end, the counts of the pool are compared
with the counts of the backends.
"""

import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack
from math import ceil
from pathlib import Path

import pytest

from tests.system.processes import (
    CONNECTIONS,
    Backend,
    Load,
    Proxy,
    Report,
    Sent,
    Served,
    wait_until,
)
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

# Bounds that follow from the settings, in seconds.  The next probe is sent within an interval and
# its jitter.  Each further one is sent when the previous one was answered or timed out.  The last
# one may take its timeout.
DOWN = INTERVAL * 1.1 + (FALL - 1) * TIMEOUT + TIMEOUT
UP = max(INTERVAL * 1.1 + (RISE - 1) * TIMEOUT + TIMEOUT, FAIL_TIMEOUT)
SLACK = 6  # for a busy machine

SOME, MANY = 50, 500  # requests
BACKENDS = 3
FAIR = ceil(CONNECTIONS / BACKENDS)  # in flight per backend
MAX_LOST = CONNECTIONS + FALL
"""The most requests that a backend can leave unanswered: FALL requests close it, and at that time
one request per connection may be in flight."""


class Site:
    """Three backends and the proxy; the first backend is the target, which fails."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stack = stack
        self.backends = [Backend(folder, number) for number in range(1, BACKENDS + 1)]
        self.target, *self.others = self.backends
        self.proxy = Proxy(folder)
        self.reports: list[Report] = []
        self.frozen = False  # whether the target is frozen
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
        """Stop a run, and wait until no request is in flight."""
        report = load.stop()
        self.reports.append(report)
        wait_until(self.idle, 10 * SLACK * ANSWER_TIMEOUT, "no request is in flight in the pool")
        return report

    def idle(self) -> bool:
        """Return whether no request is in flight, except one whose answer a frozen target began."""
        in_flight = {name: sent.in_flight for name, sent in self.proxy.counts().items()}
        in_flight[self.target.name] -= self.frozen and in_flight[self.target.name] == 1
        return not any(in_flight.values())

    def freeze(self) -> None:
        self.target.signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        self.target.signal(signal.SIGCONT)
        self.frozen = False
        wait_until(self.idle, SLACK, "the target ends an answer that it began")

    def wait_for(self, more: int, backends: list[Backend], within: float = 20.0) -> None:
        """Wait until these backends answered ``more`` further requests."""
        before = sum(backend.counts().answered for backend in backends)

        def served() -> bool:
            return sum(backend.counts().answered for backend in backends) >= before + more

        wait_until(served, within, f"{more} more requests are answered")

    def fail_under_load(self, fail: Callable[[], None]) -> Report:
        """Let the target fail in the middle of a run; return the report of the clients."""
        load = self.load()
        self.wait_for(SOME, [self.target])
        fail()
        wait_until(lambda: not self.healthy(), SLACK * DOWN, "the proxy reports it as unhealthy")
        self.wait_for(SOME, self.others)
        return self.end(load)

    def healthy(self) -> bool:
        """Return whether the proxy reported as many ends as beginnings of 'unhealthy'."""
        count = self.proxy.count_events
        began, ended = (count("unhealthy", each, self.target) for each in (True, False))
        return began == ended

    def assert_no_errors_and_no_requests_to_the_target(self) -> None:
        """Check a run of many requests: no error, and no attempt on the target."""
        before = self.proxy.counts()[self.target.name]
        load = self.load()
        self.wait_for(MANY, self.others)
        report = self.end(load)
        assert report.errors == 0, report
        assert report.requests >= MANY - CONNECTIONS
        assert self.proxy.counts()[self.target.name] == before

    def assert_the_target_serves_again(self) -> None:
        """Check that the target serves in time, without errors, with a fair number in flight."""
        self.target.reset_peak()
        load = self.load()
        self.wait_for(SOME, [self.target], SLACK * UP)
        self.wait_for(SOME, self.others)
        report = self.end(load)
        assert report.errors == 0, report
        assert 0 < self.target.counts().peak <= FAIR

    def stop_and_compare_counts(self) -> tuple[Sent, Served]:
        """Stop the proxy and compare all counts; return those of the target."""
        counts = self.proxy.stop()
        assert set(counts) == {backend.name for backend in self.backends}
        for sent in counts.values():
            assert sent.in_flight == 0
            assert sent.sent == sent.ok + sent.failed + sent.unknown
        for backend in self.others:  # they never failed: every request started and ended
            sent, served = counts[backend.name], backend.counts()
            assert (sent.failed, sent.unknown) == (0, 0)
            assert (sent.sent, sent.ok, sent.answered) == (
                served.started,
                served.ok,
                served.answered,
            )
        # Answered are the requests that wrk counted, and those in flight at the end of each run.
        answered = sum(sent.answered for sent in counts.values())
        counted = sum(report.requests for report in self.reports)
        assert counted <= answered <= counted + CONNECTIONS * len(self.reports)
        return counts[self.target.name], self.target.counts()


@pytest.fixture
def site(tmp_path: Path) -> Generator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def test_a_killed_backend_causes_no_client_errors(site: Site) -> None:
    seen = site.fail_under_load(lambda: site.target.signal(signal.SIGKILL))
    assert seen.errors == 0, seen  # another backend served what was in flight
    site.assert_no_errors_and_no_requests_to_the_target()
    site.target.run()
    site.assert_the_target_serves_again()
    sent, served = site.stop_and_compare_counts()
    assert sent.unknown == 0
    assert sent.failed == sent.lost <= MAX_LOST
    # A backend counts before it responds: the last responses may be lost when it is killed.
    assert 0 <= served.answered - sent.answered <= sent.lost
    # A request was refused or it started; without a response, it may have started and not ended.
    assert sent.answered <= served.started <= sent.sent
    assert 0 <= served.started - served.answered <= sent.lost


def test_a_frozen_backend_causes_delays_but_no_client_errors(site: Site) -> None:
    seen = site.fail_under_load(site.freeze)
    assert seen.errors == 0, seen  # wrk waits 10 s for a response, the proxy 1.5 s
    site.assert_no_errors_and_no_requests_to_the_target()
    site.thaw()
    # After SIGCONT the backend answers the requests in its sockets, although the proxy has timed
    # out: each request is started and answered once, and they are those that failed as lost.
    sent = site.proxy.counts()[site.target.name]
    assert 0 < sent.failed == sent.lost <= MAX_LOST
    wait_until(
        lambda: site.target.counts().started == sent.sent, SLACK, "it starts the waiting requests"
    )
    wait_until(
        lambda: site.target.counts().answered == sent.sent, SLACK, "it answers the waiting requests"
    )
    site.assert_the_target_serves_again()
    sent, served = site.stop_and_compare_counts()
    assert sent.unknown == 0
    assert sent.failed == sent.lost <= MAX_LOST
    assert served.started == served.answered == sent.sent == sent.answered + sent.lost


def test_a_backend_that_answers_500_gets_no_more_requests(site: Site) -> None:
    seen = site.fail_under_load(lambda: site.target.signal(signal.SIGUSR1))
    assert seen == Report(seen.requests, 0, 0, 0, 0, seen.status)  # only status errors
    assert 0 < seen.status <= MAX_LOST
    site.assert_no_errors_and_no_requests_to_the_target()
    site.target.signal(signal.SIGUSR2)
    site.assert_the_target_serves_again()
    sent, served = site.stop_and_compare_counts()
    # It answered every request, so its counts equal those of the pool, failures included.
    assert (sent.unknown, sent.lost) == (0, 0)
    assert (sent.sent, sent.ok, sent.failed) == (served.started, served.ok, served.failed)
    assert seen.status == served.failed


@pytest.mark.parametrize(
    ("fail", "repair"),
    [
        (signal.SIGKILL, None),
        (signal.SIGSTOP, signal.SIGCONT),
        (signal.SIGUSR1, signal.SIGUSR2),
    ],
    ids=["killed", "frozen", "500"],
)
def test_probes_alone_detect_a_failure_and_its_end(
    site: Site, fail: signal.Signals, repair: signal.Signals | None
) -> None:
    site.target.signal(fail)
    wait_until(lambda: not site.healthy(), SLACK * DOWN, "the proxy reports it as unhealthy")
    site.target.run() if repair is None else site.target.signal(repair)
    wait_until(site.healthy, SLACK * UP, "the proxy reports it as healthy")
    for backend in site.backends:  # probes are not counted as requests
        assert not any(site.proxy.counts()[backend.name])
        assert not any(backend.counts())
