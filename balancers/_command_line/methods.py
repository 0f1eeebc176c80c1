"""Names the methods that pick by key, with their settings.

Each method is a class of this package.  Its module is imported when the method is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from balancers._command_line.bad_input import BadInput
from balancers._command_line.numbers import positive, whole
from balancers._internal.checks import shown

__all__ = ["METHODS", "POLICIES", "Choice", "Method", "parse_choice", "parse_choices"]

Converter = Callable[[str], Any]
_LARGEST = 1 << 31


def _word(*words: str) -> Converter:
    def convert(text: str) -> str:
        if text not in words:
            raise BadInput(f"must be {', '.join(words[:-1])} or {words[-1]}, not {shown(text)}")
        return text

    return convert


def _flag(text: str) -> bool:
    return bool(_word("yes", "no")(text) == "yes")


_COUNT = whole(1, _LARGEST)
_FEW = whole(1, 10_000)
_PERCENT = whole(0, 100)


@dataclass(frozen=True, slots=True)
class Method:
    """Describes a method: its class, and the settings that the user may pass."""

    module: str
    kind: str
    settings: Mapping[str, Converter] = field(default_factory=dict[str, Converter])
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments that the name of the method implies."""
    key: str = "bytes"
    """What a key is: "bytes" or "address"."""
    weighted: bool = True
    """False if all positive weights have the same effect."""


class Choice(NamedTuple):
    """Contains a method that the user has chosen, with its settings as they were given."""

    name: str
    settings: dict[str, str]

    @property
    def text(self) -> str:
        """The choice as the user writes it."""
        return ",".join([self.name, *(f"{name}={value}" for name, value in self.settings.items())])


_HASHING, _NGINX, _HAPROXY = "hashing", "interop.nginx", "interop.haproxy"
_ENVOY, _CADDY, _KETAMA = "interop.envoy", "interop.caddy", "interop.ketama"
_HASHES = {
    "balance": _word("key", "source", "uri"),
    "hash": _word("sdbm", "djb2", "wt6", "crc32"),
    "avalanche": _flag,
    "allbackups": _flag,
}
_CLUSTER = {"healthy_panic_threshold": _PERCENT}

METHODS: dict[str, Method] = {
    "hash_ring": Method(_HASHING, "HashRing", {"points": _COUNT}),
    "maglev": Method(_HASHING, "Maglev", {"size": _COUNT}),
    "rendezvous": Method(_HASHING, "Rendezvous"),
    "jump": Method(_HASHING, "Jump", weighted=False),
    "multi_probe": Method(_HASHING, "MultiProbe", {"probes": _FEW}, weighted=False),
    "anchor": Method(_HASHING, "Anchor", {"capacity": whole(1, 10_000_000)}, weighted=False),
    "memento": Method(_HASHING, "Memento", weighted=False),
    "nginx:hash": Method(_NGINX, "Hash"),
    "nginx:consistent": Method(_NGINX, "ConsistentHash"),
    "nginx:ip_hash": Method(_NGINX, "IPHash", key="address"),
    "haproxy:map-based": Method(_HAPROXY, "MapBased", _HASHES),
    "haproxy:consistent": Method(_HAPROXY, "Consistent", _HASHES),
    "envoy:ring_hash": Method(
        _ENVOY,
        "RingHash",
        {
            "minimum_ring_size": _COUNT,
            "maximum_ring_size": _COUNT,
            "hash_function": _word("XX_HASH", "MURMUR_HASH_2"),
            **_CLUSTER,
        },
    ),
    "envoy:maglev": Method(_ENVOY, "Maglev", {"table_size": _COUNT, **_CLUSTER}),
    "caddy:header": Method(_CADDY, "Rendezvous", weighted=False),
    "caddy:query": Method(_CADDY, "Rendezvous", weighted=False),
    "caddy:uri_hash": Method(_CADDY, "Rendezvous", weighted=False),
    "caddy:ip_hash": Method(_CADDY, "Rendezvous", key="address", weighted=False),
    "libmemcached:ketama": Method(_KETAMA, "LibmemcachedKetama", {"hash": str}),
    "libmemcached:ketama_weighted": Method(_KETAMA, "LibmemcachedKetama", fixed={"weighted": True}),
    "libmemcached:spy": Method(_KETAMA, "LibmemcachedSpy", {"hash": str}),
    "libmemcached:modula": Method(_KETAMA, "LibmemcachedModula", {"hash": str}, weighted=False),
    "twemproxy:ketama": Method(_KETAMA, "TwemproxyKetama", {"hash": str, "hash_tag": str}),
    "twemproxy:modula": Method(_KETAMA, "TwemproxyModula", {"hash": str, "hash_tag": str}),
    "uhashring:ring": Method(_KETAMA, "UHashRing", {"vnodes": _COUNT}),
    "uhashring:ketama": Method(_KETAMA, "UHashRingKetama", {"vnodes": _COUNT, "replicas": _COUNT}),
}

_ALGORITHMS = "algorithms"
POLICIES: dict[str, Method] = {
    "round_robin": Method(_ALGORITHMS, "RoundRobin"),
    "weighted_round_robin": Method(_ALGORITHMS, "WeightedRoundRobin"),
    "random": Method(_ALGORITHMS, "RandomChoice"),
    "two_choices": Method(_ALGORITHMS, "PowerOfTwoChoices", {"choices": _FEW}),
    "least_connections": Method(_ALGORITHMS, "LeastConnections"),
    "weighted_least_connections": Method(
        _ALGORITHMS, "WeightedLeastConnections", {"rule": _word("wlc", "sed")}
    ),
    **{name: method for name, method in METHODS.items() if method.module == _HASHING},
    "bounded_load": Method(_HASHING, "BoundedLoad", {"c": positive, "slack": whole(0, _LARGEST)}),
}
"""The policies that can be simulated."""


def parse_choice(text: str, known: Mapping[str, Method] = METHODS) -> Choice:
    """Return the choice of one method, for example ``envoy:maglev,table_size=1009``."""
    choices = parse_choices(text, known)
    if len(choices) > 1:
        raise BadInput(f"one method is expected, not {shown(text)}")
    return choices[0]


def parse_choices(text: str, known: Mapping[str, Method] = METHODS) -> list[Choice]:
    """Return the choices of a text.

    Settings follow their method: ``maglev,size=1009,hash_ring``.  Raises BadInput.
    """
    choices = list[Choice]()
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            if name not in known:
                kind = "policy" if known is POLICIES else "method"
                raise BadInput(f"unknown {kind} {shown(name)}: known are {', '.join(known)}")
            choices.append(Choice(name, {}))
            continue
        if not choices:
            raise BadInput(f"setting {shown(part)} follows no method")
        method = choices[-1].name
        if name not in known[method].settings:
            names = ", ".join(known[method].settings) or "none"
            raise BadInput(f"unknown setting {shown(name)} of {method}: known are {names}")
        choices[-1].settings[name] = value
    return choices
