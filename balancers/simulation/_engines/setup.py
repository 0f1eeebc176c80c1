"""Holds the arguments of one simulation, after they were validated, and draws its requests.

Every engine gets one :class:`Setup`.  :meth:`Setup.chunks` gives the requests in chunks of any
size, and always the same ones.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import InvalidPick, InvalidSetting, InvalidTime
from balancers.gates import ActiveChecks
from balancers.pool import Pool
from balancers.simulation._grid import LATEST, on_grid, served
from balancers.simulation._streams import stream
from balancers.simulation.arrivals import Arrivals
from balancers.simulation.faults import Fault
from balancers.simulation.llm_engine import LLMEngine
from balancers.simulation.prompts import RecordedPrompts
from balancers.simulation.request_keys import KeyLaw
from balancers.simulation.retries import Retries
from balancers.simulation.server import Server
from balancers.simulation.service import Service

__all__ = ["Chunk", "Script", "Setup", "members_of"]

Script = Iterable[tuple[float, Callable[[float], object]]]


class Chunk(NamedTuple):
    """Some consecutive requests.

    ``start`` is the index of the first one.  ``times`` and ``works`` are arrays ``float64[count]``
    in seconds, on the grid.  ``keys`` is a sequence of as many keys, or None without a key law.
    """

    start: int
    times: NDArray[np.float64]
    works: NDArray[np.float64]
    keys: Any


class Setup(Generic[B]):
    """The validated arguments of one simulation.

    ``backends`` are all backends, in the order of the result; ``places`` are their indices, and
    ``servers`` their servers.  A
    place of ``engines`` has an engine instead of its server.  A backend that joins during the run
    is appended by :meth:`place_of`.
    """

    def __init__(
        self,
        fronts: tuple[Balancer[B] | Pool[B], ...],
        servers: Server | LLMEngine | Mapping[B, Server | LLMEngine],
        *,
        arrivals: Arrivals,
        service: Service | RecordedPrompts,
        keys: KeyLaw | None,
        requests: int,
        seed: int,
        warm: int,
        network: tuple[float, float] = (0.0, 0.0),
        timeout: float | None = None,
        retries: Retries | None = None,
        faults: tuple[Fault, ...] = (),
        probes: tuple[ActiveChecks[B], ...] = (),
        script: Script | None = None,
        timeline: float | None = None,
        keep: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        self.fronts = fronts
        self.arrivals, self.service, self.keys = arrivals, service, keys
        self.requests, self.seed, self.warm = requests, seed, warm
        self.there, self.back = network
        self.network = self.there + self.back
        self.timeout, self.retries = timeout, retries
        self.faults, self.probes, self.script = faults, probes, script
        self.timeline, self.keep, self.progress = timeline, keep, progress
        self._given = servers
        self.backends: list[B] = []
        self.places: dict[B, int] = {}
        self.servers: list[Server] = []
        self.engines: dict[int, LLMEngine] = {}
        for front in fronts:
            for backend in members_of(front):
                self.place_of(backend)
        self.half = warm + (requests - warm) // 2
        self.late = warm + (requests - warm) * 3 // 4
        self.marks: dict[int, float] = {}

    @property
    def balancer(self) -> Balancer[B] | Pool[B]:
        """The first of the balancers; the only one, unless there are several."""
        return self.fronts[0]

    @property
    def simple(self) -> bool:
        """Whether nothing happens but that requests arrive and wait in line.

        So there is one balancer or pool, every server has one slot, serves in order of arrival and
        has room for all, and there are no faults, retries, timeouts, probes and scripts.
        """
        quiet = self.timeout is None and self.retries is None and self.script is None
        given = self._given
        servers = given.values() if isinstance(given, Mapping) else (given,)
        return (
            quiet
            and not self.faults
            and not self.probes
            and len(self.fronts) == 1
            and all(
                isinstance(each, Server)
                and (each.slots, each.discipline, each.room) == (1, "fifo", None)
                for each in servers
            )
        )

    @property
    def plain(self) -> bool:
        """Whether :attr:`simple` is True, and there is a balancer without a pool.

        Its methods must be those of its class: a function may have been set on the object itself.
        """
        own = getattr(self.balancer, "__dict__", {}).keys()
        replaced = own & {"pick", "started", "finished"}
        return self.simple and not isinstance(self.balancer, Pool) and not replaced

    @property
    def speeds(self) -> NDArray[np.float64]:
        """The speed of the server of each backend: an array ``float64[backends]``."""
        return np.array([float(server.speed) for server in self.servers])

    def services(self, works: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return how long each request is served, on the grid, by the server at its place."""
        speeds = self.speeds
        return works if bool((speeds == 1).all()) else served(works, speeds[places])

    def place_of(self, backend: B) -> int:
        """Return the index of a backend.  A new one gets a server.  Raises InvalidPick."""
        try:
            place = self.places.get(backend)
        except TypeError:  # not hashable
            raise InvalidPick(f"{shown(backend)} was picked or probed, but is no member") from None
        if place is None:
            if not isinstance(self._given, Mapping):
                if not any(backend in members_of(front) for front in self.fronts):
                    raise InvalidPick(f"{shown(backend)} was picked or probed, but is no member")
                server = self._given
            elif backend in self._given:
                server = self._given[backend]
            else:
                raise InvalidPick(f"{shown(backend)} was picked or probed, but has no server")
            place = self.places[backend] = len(self.backends)
            self.backends.append(backend)
            if isinstance(server, LLMEngine):
                self.engines[place] = server
                server = Server()
            self.servers.append(server)
        return place

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Draw all requests, at most ``size`` at a time.

        After each chunk, ``progress`` is called with the number of requests so far.  Raises
        InvalidSetting if a law returns something else than finite seconds of 0 or more, and
        InvalidTime if a request arrives after the latest time.
        """
        gap_draws, work_draws = stream(self.seed, "arrivals"), stream(self.seed, "service")
        key_draws = stream(self.seed, "keys")
        now = 0.0
        for start in range(0, self.requests, size):
            count = min(size, self.requests - start)
            gaps = _checked("arrivals", self.arrivals.draw(gap_draws, start, count), count)
            works = _checked("service", self.service.draw(work_draws, start, count), count)
            gaps[0] += now
            times = np.cumsum(gaps)
            now = float(times[-1])
            if not now <= LATEST:
                raise InvalidTime(f"requests must arrive until {LATEST:g} s, not at {now:g} s")
            for mark in (self.warm, self.half, self.late, self.requests - 1):
                if start <= mark < start + count:
                    self.marks[mark] = float(times[mark - start])
            keys = None
            if self.keys is not None:
                keys = _checked_keys(self.keys.draw(key_draws, start, count), count)
            yield Chunk(start, times, works, keys)
            if self.progress is not None:
                self.progress(start + count)


def members_of(front: Balancer[B] | Pool[B]) -> Collection[B]:
    """Return the members of a balancer or of a pool."""
    return front.backends if isinstance(front, Pool) else front.weights.keys()


def _checked(name: str, drawn: Any, count: int) -> NDArray[np.float64]:
    """Return drawn seconds on the grid, as a new array.  Raises InvalidSetting."""
    try:
        seconds = np.asarray(drawn, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidSetting(f"{name} must draw seconds, not {shown(drawn)}") from None
    if seconds.shape != (count,):
        raise InvalidSetting(
            f"{name} must draw an array of {count} numbers, not one of the shape {seconds.shape}"
        )
    if not (seconds.min() >= 0 and seconds.max() <= LATEST):
        wrong = seconds[~((seconds >= 0) & (seconds <= LATEST))][0]
        raise InvalidSetting(
            f"{name} must draw seconds from 0 to {LATEST:g}, not {shown(float(wrong))}"
        )
    return on_grid(seconds)


def _checked_keys(drawn: Any, count: int) -> Any:
    """Return drawn keys as an array or a sequence.  Raises InvalidSetting."""
    kind = cast("type[object]", type(drawn))
    if not issubclass(kind, np.ndarray | Sequence) or issubclass(kind, str | bytes):
        raise InvalidSetting(f"keys must draw an array or a list, not {shown(drawn)}")
    shape: tuple[int, ...] = drawn.shape if issubclass(kind, np.ndarray) else (len(drawn),)
    if shape != (count,):
        raise InvalidSetting(f"keys must draw {count} keys, not {' by '.join(map(str, shape))}")
    return drawn
