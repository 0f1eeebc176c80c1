"""The registry of the balancers that pick as another program does, with the rules of that program.

Their excuses name what the program does otherwise than the balancers of this package.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import Any

from balancers import Balancer
from balancers.interop import caddy, envoy, haproxy, ketama, nginx
from tests.kinds.balancers import ADDRESSES
from tests.kinds.kind import Kind

__all__ = ["PRESETS"]

IPV4 = [address for address in ADDRESSES if ":" not in address]


def least_request(
    backends: Iterable[Any] | Mapping[Any, float] = (), rng: Random | None = None
) -> Balancer[Any]:
    return envoy.LeastRequest(backends, rng=rng or Random(1), healthy_panic_threshold=0)


REFUSES = [
    "refuses_exactly_when_none_is_eligible",
    "leaves_its_arguments_alone",
    "copies_and_pickles_go_on_alike",
]
NOT_EMPTY = [f"user:{number}" for number in range(1000)]


def failing(*laws: str) -> dict[str, str]:
    return dict.fromkeys(laws, "A server whose request failed is not picked for ten seconds.")


FIRST = dict.fromkeys(
    [
        "last_put_wins",
        "discard_forgets",
        "started_and_finished_cancel",
        "pick_counts_nothing",
        "no_backend_starves",
    ],
    "Every request goes to the first available backend.",
)
KEYLESS = {"is_a_balancer": "Requests without a key are served in turn."}
NEW_SCHEDULE = dict.fromkeys(
    ["no_backend_starves", "a_flip_keeps_the_others_places"],
    "A new schedule starts after each change of members or weights.",
)
ONLY_STARTED = {
    "no_backend_starves": "A pick changes nothing until the request is reported as started."
}

KETAMA: dict[str, Callable[..., Balancer[Any]]] = {
    "ketama.LibmemcachedKetama": ketama.LibmemcachedKetama,
    "ketama.LibmemcachedSpy": ketama.LibmemcachedSpy,
    "ketama.TwemproxyKetama": partial(ketama.TwemproxyKetama, hash="md5"),
    "ketama.UHashRingKetama": ketama.UHashRingKetama,
}
"""How many points a server has depends on the weights of all."""

PRESETS = [
    Kind(
        "caddy.Cookie",
        caddy.Cookie,
        traits=("keyed",),
        excuses={
            "keyed_shares_follow_weights": "A key that is no cookie goes to the first backend."
        },
    ),
    Kind("caddy.First", caddy.First, excuses=FIRST),
    Kind(
        "caddy.Rendezvous",
        caddy.Rendezvous,
        traits=("keyed", "minimal_disruption"),
        keys=NOT_EMPTY,
    ),
    Kind("caddy.RoundRobin", caddy.RoundRobin, traits=("rotating",)),
    Kind(
        "caddy.WeightedRoundRobin", caddy.WeightedRoundRobin, traits=("weighted",), weights="whole"
    ),
    Kind("envoy.LeastRequest", least_request, weights="whole"),
    Kind(
        "envoy.Maglev",
        partial(envoy.Maglev, table_size=1009, healthy_panic_threshold=0),
        traits=("keyed", "weighted"),
        weights="whole",
        max_members=1009,
    ),
    Kind(
        "envoy.RingHash",
        partial(envoy.RingHash, healthy_panic_threshold=0),
        traits=("keyed", "weighted", "historical"),
        weights="whole",
    ),
    Kind(
        "envoy.RoundRobin",
        partial(envoy.RoundRobin, healthy_panic_threshold=0),
        traits=("weighted", "rotating"),
        weights="whole",
        excuses=NEW_SCHEDULE,
    ),
    Kind(
        "haproxy.Consistent",
        haproxy.Consistent,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses=KEYLESS,
    ),
    Kind("haproxy.First", haproxy.First, weights="whole", excuses=FIRST),
    Kind(
        "haproxy.LeastConn",
        haproxy.LeastConn,
        traits=("weighted", "least_loaded"),
        weights="whole",
        excuses=ONLY_STARTED,
    ),
    Kind(
        "haproxy.MapBased",
        haproxy.MapBased,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses=KEYLESS,
    ),
    Kind("haproxy.RoundRobin", haproxy.RoundRobin, traits=("rotating",), weights=(1,)),
    Kind("haproxy.StaticRR", haproxy.StaticRR, traits=("weighted", "rotating"), weights="whole"),
    *(
        Kind(
            name,
            make,
            limits_weights=True,
            traits=("keyed", "weighted"),
            weights="whole",
        )
        for name, make in KETAMA.items()
    ),
    Kind(
        "ketama.UHashRing",
        ketama.UHashRing,
        limits_weights=True,
        traits=("keyed", "weighted", "minimal_disruption"),
        weights="whole",
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
        nginx.ConsistentHash,
        limits_weights=True,
        traits=("keyed", "weighted", "minimal_disruption"),
        weights="whole",
        excuses=failing("a_key_stays_put"),
    ),
    Kind(
        "nginx.Hash",
        nginx.Hash,
        traits=("keyed", "weighted", "historical"),
        weights="whole",
        excuses=failing("a_key_stays_put", *REFUSES),
    ),
    Kind(
        "nginx.IPHash",
        nginx.IPHash,
        traits=("keyed", "weighted", "historical"),
        keys=IPV4,
        weights="whole",
        excuses=failing(*REFUSES),
    ),
    Kind(
        "nginx.LeastConn",
        nginx.LeastConn,
        traits=("weighted", "least_loaded", "rotating"),
        weights="whole",
        excuses=failing("discard_forgets"),
    ),
    Kind(
        "nginx.RoundRobin",
        nginx.RoundRobin,
        traits=("weighted", "smooth", "rotating"),
        weights="whole",
        excuses=failing("discard_forgets", "copies_and_pickles_go_on_alike"),
    ),
]
