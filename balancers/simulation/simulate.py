"""Runs simulations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from balancers._internal.checks import at_least, check_flags, checked_callable, number, shown
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting
from balancers.gates import ActiveChecks
from balancers.pool import Pool
from balancers.simulation._arguments import (
    check_engines,
    check_law,
    check_servers,
    checked_faults,
    checked_fronts,
    checked_probes,
)
from balancers.simulation._engines.choice import choose
from balancers.simulation._engines.result import result
from balancers.simulation._engines.setup import Script, Setup
from balancers.simulation._engines.tally import Tally
from balancers.simulation._grid import tick
from balancers.simulation._script import checked_script
from balancers.simulation._seconds import check_seconds
from balancers.simulation.arrivals import Arrivals
from balancers.simulation.faults import Fault
from balancers.simulation.llm_engine import LLMEngine
from balancers.simulation.prompts import RecordedPrompts
from balancers.simulation.request_keys import KeyLaw
from balancers.simulation.retries import Retries
from balancers.simulation.server import Server
from balancers.simulation.service import Service
from balancers.simulation.simulation import Simulation

__all__ = ["simulate"]

_ONE = Server()


def simulate(
    balancer: Balancer[B] | Pool[B] | Sequence[Balancer[B] | Pool[B]],
    arrivals: Arrivals,
    service: Service | RecordedPrompts,
    *,
    requests: int,
    seed: int,
    servers: Server | LLMEngine | Mapping[B, Server | LLMEngine] = _ONE,
    keys: KeyLaw | None = None,
    network: float = 0.0,
    timeout: float | None = None,
    retries: Retries | None = None,
    faults: Iterable[Fault] = (),
    probes: ActiveChecks[B] | Iterable[ActiveChecks[B]] = (),
    script: Script = (),
    warm_up: float = 0.25,
    timeline: float | None = None,
    keep: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Simulation[B]:
    """Send requests through a balancer or pool on virtual time, and return what happened.

    ``balancer`` is the object itself and no copy: its picks, its counts and its generator advance.
    It must have nothing in flight.  Several balancers or pools before the same servers are passed
    as a sequence; each request goes to one of them at random.

    ``arrivals`` are the times, ``service`` the work and ``keys`` the keys of the ``requests``
    requests.  ``seed`` (an int, 0 or more) determines all that the simulation draws.  Runs with the
    same seed have the same arrivals, work and keys, whatever the balancer is.

    ``servers`` is one :class:`Server` for every backend, or a mapping from backends.  If all of
    them are an :class:`LLMEngine`, the ``service`` is a :class:`RecordedPrompts`, and each balancer
    is in a pool: a request has the tokens of its prompt as its cost, until its first token arrives.
    ``network`` is the time from the balancer to a server and back, in seconds.  After ``timeout``
    seconds, a try fails, and its server stops working on it.  ``retries`` are tries after failed
    tries.  ``faults`` are faults of servers.  ``probes`` are the
    :class:`~balancers.gates.ActiveChecks` of a pool; their probes are sent and answered.
    ``script`` is an iterable of pairs (time, function) in order of time; each function is called
    with the time.  At one instant, ends come first, then faults, the script, answers to probes,
    probes, retries, and arrivals.

    The share ``warm_up`` of the requests, from the first one on, is simulated but not counted.
    With ``timeline`` (seconds), there are counts per bucket of this width.  With ``keep``, there is
    a record of every request.  ``progress`` is called with the number of requests so far.
    It must not change the balancer; a function of the script may.

    >>> from random import Random
    >>> from balancers import PowerOfTwoChoices
    >>> from balancers.simulation import Exponential, Poisson
    >>> lb = PowerOfTwoChoices(range(10), rng=Random(7))
    >>> run = simulate(lb, Poisson(rate=9.0), Exponential(mean=1.0), requests=100_000, seed=7)
    >>> run.steady, round(run.response.mean, 1), run.failed
    (True, 3.0, 0)

    All times are on a grid of 2 ** -30 seconds.  The simulation ends when the last request has
    ended; later faults, probes and entries of the script do not happen.  Memory does not depend on
    the number of requests, unless ``keep`` is set; with ``timeline``, it grows with the time.

    Raises InvalidSetting, InvalidTime, InvalidWeight, MissingKey, UnknownBackend and TypeError for
    invalid arguments, AlreadyInUse for an object with requests in flight or one that belongs to a
    pool, InvalidPick if the balancer picks a backend without a server, and ScriptFailed if a
    function of the script raises an exception.
    """
    at_least(1, requests=requests)
    at_least(0, seed=seed)
    check_flags(keep=keep)
    if not 0 <= number("warm_up", warm_up) < 1:
        raise InvalidSetting(f"warm_up must be 0 or more and below 1, not {shown(warm_up)}")
    check_seconds("network", network)
    for name, seconds in (("timeout", timeout), ("timeline", timeline)):
        if seconds is not None:
            check_seconds(name, seconds, positive=True)
    for name, law in (("arrivals", arrivals), ("service", service), ("keys", keys)):
        if law is not None or name != "keys":
            check_law(name, law, requests)
    if progress is not None:
        checked_callable("progress", progress)
    if retries is not None and not isinstance(cast("Any", retries), Retries):
        raise TypeError(f"retries must be Retries, not {shown(retries)}")
    checked = checked_script(script)
    fronts = checked_fronts(balancer, keyed=keys is not None, changing=checked is not None)
    check_servers(servers, fronts, changing=checked is not None)
    check_engines(service, servers, fronts)
    there = tick(network / 2)
    setup = Setup[B](
        fronts,
        servers,
        arrivals=arrivals,
        service=service,
        keys=keys,
        requests=requests,
        seed=seed,
        warm=int(warm_up * requests),
        network=(there, tick(network) - there),
        timeout=None if timeout is None else tick(timeout),
        retries=retries,
        faults=checked_faults(faults, fronts, servers),
        probes=checked_probes(probes),
        script=checked,
        timeline=None if timeline is None else tick(timeline),
        keep=keep,
        progress=progress,
    )
    name, run = choose(setup)
    tally = Tally(setup)
    run(setup, tally)
    return result(setup, tally, name)
