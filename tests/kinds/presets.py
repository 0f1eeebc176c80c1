"""The registry of the balancers that pick as another program does, with the rules of that program.

Their excuses name what the program does otherwise than the balancers of this package.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from random import Random
from typing import Any

from balancers import Balancer
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from balancers.interop.nginx.upstream import Upstream
from tests.kinds.balancers import ADDRESSES
from tests.kinds.kind import Kind

__all__ = ["PRESETS"]

IPV4 = [address for address in ADDRESSES if ":" not in address]


def least_request(
    backends: Iterable[Any] | Mapping[Any, float] = (), rng: Random | None = None
) -> Balancer[Any]:
    return envoy.LeastRequest(backends, rng=rng or Random(1))


class Patient(Upstream):
    """Adds servers with ``max_fails`` 0, so that failures close none."""

    def put(self, backend: str, weight: float = 1) -> None:
        if weight > 0 and backend not in self.weights and backend not in self._peers:
            super().put(backend, weight)
            self._peers[backend].server = nginx.Server(backend, weight=int(weight), max_fails=0)
        else:
            super().put(backend, weight)


class PatientConsistentHash(Patient, nginx.ConsistentHash):
    pass


class PatientHash(Patient, nginx.Hash):
    pass


class PatientIPHash(Patient, nginx.IPHash):
    pass


class PatientLeastConn(Patient, nginx.LeastConn):
    pass


class PatientRoundRobin(Patient, nginx.RoundRobin):
    pass


FIRST = "Every request goes to the first available backend."
NO_COOKIE = "A request whose key is no cookie of a backend goes to the first backend."
PANIC = "Envoy sends requests to all hosts if fewer than half of them are healthy."
SCHEDULE = "Envoy builds its schedule again at each change, and begins with the heaviest host."
ROUNDED = "Envoy picks two at random and compares their requests: weights are approximate."
DRAWN = "Envoy draws hosts of equal weights at random, also after the first one of a plan."
NO_KEY = "A request without a key is spread by round robin."
FALLBACK = "After 20 closed servers in a row, nginx spreads the request by round robin."
NEIGHBOUR = "The turns of a closed upstream go to the next one."
ALL_FIRST = {
    "last_put_wins": FIRST,
    "discard_forgets": FIRST,
    "started_and_finished_cancel": FIRST,
    "pick_counts_nothing": FIRST,
    "no_backend_starves": FIRST,
}
TWEMPROXY = partial(ketama.TwemproxyKetama, hash="md5")
"""With its default hash, the shares of similar names are far from their weights."""
EVERY_KEY = [f"key-{number}" for number in range(1000)]
"""Keys without the empty one, which some programs treat as no key."""

PRESETS = [
    Kind(
        "caddy.Cookie",
        caddy.Cookie,
        traits=("keyed",),
        excuses={
            "is_a_balancer": NO_COOKIE,
            "the_map_is_a_function_of_the_set": NO_COOKIE,
            "keyed_shares_follow_weights": NO_COOKIE,
        },
    ),
    Kind("caddy.First", caddy.First, excuses=ALL_FIRST),
    Kind(
        "caddy.Rendezvous",
        caddy.Rendezvous,
        traits=("keyed", "minimal_disruption"),
        keys=EVERY_KEY,
    ),
    Kind("caddy.RoundRobin", caddy.RoundRobin, traits=("rotating",)),
    Kind(
        "caddy.WeightedRoundRobin",
        caddy.WeightedRoundRobin,
        traits=("weighted",),
        weights="whole",
        excuses={"shares_follow_weights": NEIGHBOUR},
    ),
    Kind(
        "envoy.LeastRequest",
        least_request,
        traits=("weighted",),
        weights="whole",
        excuses={
            "refuses_exactly_when_none_is_eligible": PANIC,
            "no_backend_starves": SCHEDULE,
            "shares_follow_weights": ROUNDED,
            "scale_free": ROUNDED,
            "a_plan_takes_one_turn": DRAWN,
        },
    ),
    Kind(
        "envoy.Maglev",
        partial(envoy.Maglev, table_size=1009),
        traits=("keyed", "weighted"),
        weights="whole",
        max_members=1009,
        excuses={
            "picks_only_eligible_backends": PANIC,
            "refuses_exactly_when_none_is_eligible": PANIC,
        },
    ),
    Kind(
        "envoy.RingHash",
        envoy.RingHash,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses={
            "picks_only_eligible_backends": PANIC,
            "refuses_exactly_when_none_is_eligible": PANIC,
        },
    ),
    Kind(
        "envoy.RoundRobin",
        envoy.RoundRobin,
        traits=("weighted", "rotating"),
        weights="whole",
        excuses={
            "picks_only_eligible_backends": PANIC,
            "refuses_exactly_when_none_is_eligible": PANIC,
            "no_backend_starves": SCHEDULE,
            "a_flip_keeps_the_others_places": SCHEDULE,
        },
    ),
    Kind(
        "haproxy.Consistent",
        haproxy.Consistent,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses={"is_a_balancer": NO_KEY},
    ),
    Kind("haproxy.First", haproxy.First, weights="whole", excuses=ALL_FIRST),
    Kind(
        "haproxy.LeastConn",
        haproxy.LeastConn,
        traits=("weighted", "least_loaded"),
        weights="whole",
    ),
    Kind(
        "haproxy.MapBased",
        haproxy.MapBased,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses={"is_a_balancer": NO_KEY},
    ),
    Kind("haproxy.RoundRobin", haproxy.RoundRobin, traits=("rotating",), weights=(1,)),
    Kind("haproxy.StaticRR", haproxy.StaticRR, traits=("weighted", "rotating"), weights="whole"),
    *(
        Kind(
            f"ketama.{name}",
            make,
            limits_weights=True,
            traits=("keyed", "weighted", *more),
            weights="whole",
        )
        for name, make, *more in (
            ("LibmemcachedKetama", ketama.LibmemcachedKetama),
            ("LibmemcachedSpy", ketama.LibmemcachedSpy),
            ("TwemproxyKetama", TWEMPROXY),
            ("UHashRing", ketama.UHashRing, "minimal_disruption"),
            ("UHashRingKetama", ketama.UHashRingKetama),
        )
    ),
    Kind(
        "ketama.LibmemcachedModula",
        ketama.LibmemcachedModula,
        traits=("keyed", "historical"),
        weights="whole",
    ),
    Kind(
        "ketama.TwemproxyModula",
        partial(ketama.TwemproxyModula, hash="md5"),
        limits_weights=True,
        traits=("keyed", "weighted"),
        weights="whole",
    ),
    Kind(
        "nginx.ConsistentHash",
        PatientConsistentHash,
        limits_weights=True,
        traits=("keyed", "weighted"),
        weights="whole",
        excuses={"a_key_stays_put": FALLBACK, "the_map_is_a_function_of_the_set": FALLBACK},
    ),
    Kind(
        "nginx.Hash",
        PatientHash,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses={"a_key_stays_put": FALLBACK},
    ),
    Kind(
        "nginx.IPHash",
        PatientIPHash,
        traits=("keyed", "weighted", "historical"),
        keys=IPV4,
        weights="whole",
    ),
    Kind(
        "nginx.LeastConn",
        PatientLeastConn,
        traits=("weighted", "least_loaded", "rotating"),
        weights="whole",
    ),
    Kind(
        "nginx.RoundRobin",
        PatientRoundRobin,
        traits=("weighted", "smooth", "rotating"),
        weights="whole",
    ),
]
