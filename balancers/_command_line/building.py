"""Constructs the balancer of a method, and picks for keys."""

from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from importlib import import_module
from typing import Any, cast
from zlib import crc32

from balancers._command_line.bad_input import BadInput
from balancers._command_line.keys import key_text
from balancers._command_line.methods import METHODS, Choice, Method
from balancers._command_line.numbers import whole_number
from balancers._command_line.servers import Server
from balancers._internal.checks import shown
from balancers.balancer import Balancer, Key
from balancers.errors import NoBackendAvailable
from balancers.hashing import HashedBalancer
from balancers.interop import caddy, haproxy, nginx

__all__ = ["KeyedMethod", "Lookup", "converted_settings"]


def converted_settings(choice: Choice, known: Mapping[str, Method]) -> dict[str, Any]:
    """Return the settings of a choice as the class takes them.  Raises BadInput."""
    settings = dict[str, Any]()
    for name, text in choice.settings.items():
        try:
            settings[name] = known[choice.name].settings[name](text)
        except (ArgumentTypeError, BadInput) as error:
            raise BadInput(f"{choice.name}: {name} {error}") from error
    return settings


class KeyedMethod:
    """A method with its settings, which constructs balancers and picks for the keys of a file."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.program = choice.name.rpartition(":")[0]
        self._method = METHODS[choice.name]
        self._settings = converted_settings(choice, METHODS)

    @property
    def addresses(self) -> bool:
        """Whether the keys are addresses of clients."""
        return self._method.key == "address" or self._settings.get("balance") == "source"

    def fair(self, servers: Sequence[Server]) -> dict[str, float]:
        """Return the weight of each server, as far as the method uses it."""
        if self._method.weighted:
            return {each.name: each.weight for each in servers}
        return {each.name: 1 if each.weight else 0 for each in servers}

    def balancer(self, servers: Sequence[Server], capacity: int | None = None) -> Balancer[str]:
        """Return a new balancer with these servers.

        ``capacity`` is the default of the setting of Anchor: twice the number of servers.
        Raises BadInput if a package is missing, and what the class raises for invalid settings.
        """
        kind = getattr(import_module(f"balancers.{self._method.module}"), self._method.kind)
        settings = {**self._method.fixed, **self._settings}
        weights: Any = {server.name: server.weight for server in servers}
        if self.program == "nginx":
            weights = [*map(_nginx_server, servers)]
        elif self.program == "haproxy":
            weights, settings = [*map(_haproxy_server, servers)], self._haproxy_settings()
        elif self.program == "twemproxy":
            settings["names"] = {
                server.name: server.words["name"] for server in servers if "name" in server.words
            }
        elif self.choice.name == "anchor":
            settings.setdefault("capacity", capacity or 2 * len(servers))
        try:
            return cast("Balancer[str]", kind(weights, **settings))
        except ImportError as error:
            raise BadInput(f"{self.choice.name}: {error}") from error

    def _haproxy_settings(self) -> dict[str, Any]:
        given = self._settings
        consistent = self.choice.name == "haproxy:consistent"
        function = getattr(haproxy, given.get("hash", "sdbm"))
        mixed = given.get("avalanche", consistent and "hash" not in given)
        if given.get("balance") == "source":
            function = haproxy.address_words
        return {
            "hasher": haproxy.Hash(function, avalanche=mixed),
            "allbackups": given.get("allbackups", False),
        }

    def key(self, key: bytes) -> Key:
        """Return what the balancer gets as key.  Raises InvalidKey."""
        balance = self._settings.get("balance")
        if balance == "source":
            return haproxy.source(key_text(key))
        if balance == "uri":
            return haproxy.uri(key)
        if self.choice.name == "caddy:ip_hash":
            return caddy.ip_key(key_text(key))
        return key_text(key) if self.addresses else key

    def picks(self, balancer: Balancer[str], keys: Sequence[bytes]) -> list[str]:
        """Return the server of each key.  Raises InvalidKey, NoBackendAvailable."""
        if isinstance(balancer, HashedBalancer):
            names = [*balancer.weights]
            hashes = balancer.hash_many([self.key(key) for key in keys])
            return [names[place] for place in balancer.pick_many(hashes).tolist()]
        return [balancer.pick(self.key(key)) for key in keys]

    def digest(self, balancer: Balancer[str], key: bytes) -> int | None:
        """Return the hash of a key, or None if the method computes no single hash of a key."""
        converted = self.key(key)
        if isinstance(balancer, HashedBalancer):
            return balancer.hash_key(converted)
        if self.program == "haproxy":
            return int(self._haproxy_settings()["hasher"](converted))
        if isinstance(balancer, nginx.Hash | nginx.ConsistentHash):
            return crc32(key)
        return None

    def succession(self, balancer: Balancer[str], key: bytes) -> Iterator[str]:
        """Yield the servers that are picked if all before them were already tried."""
        converted, tried = self.key(key), list[str]()
        if isinstance(balancer, HashedBalancer):
            yield from balancer.succession(balancer.hash_key(converted))
            return
        if self.program == "nginx":
            balancer = deepcopy(balancer)  # a pick may change its turns
        while True:
            try:
                server = balancer.pick(converted, 0.0, tried)
            except NoBackendAvailable:
                return
            yield server
            tried.append(server)


class Lookup:
    """Picks for arrays of keys, as :func:`balancers.quality.remap` needs it, with every method.

    If a method has no hashes of 64 bits, the "hash" of a key is its place among the keys.
    """

    def __init__(
        self, method: KeyedMethod, balancer: Balancer[str], weights: Mapping[str, float]
    ) -> None:
        self.weights = {name: weights[name] for name in balancer.weights}
        self._method, self._balancer = method, balancer
        self._hashed = balancer if isinstance(balancer, HashedBalancer) else None
        self._keys: Sequence[bytes] = ()

    def hash_many(self, keys: Any) -> Any:
        """Return the hash of each key, as an array of uint64."""
        import numpy as np  # noqa: PLC0415 - only packages of arrays import it at their top

        if self._hashed is not None:
            return self._hashed.hash_many([self._method.key(key) for key in keys])
        self._keys = keys
        return np.arange(len(keys), dtype=np.uint64)

    def pick_many(self, hashes: Any) -> Any:
        """Return the index of each hash's server in the order of ``weights``, as an array."""
        import numpy as np  # noqa: PLC0415 - only packages of arrays import it at their top

        if self._hashed is not None:
            return self._hashed.pick_many(hashes)
        indices = {name: index for index, name in enumerate(self.weights)}
        places: list[int] = hashes.tolist()
        picks = self._method.picks(self._balancer, [self._keys[place] for place in places])
        return np.array([indices[name] for name in picks], dtype=np.intp)


def _nginx_server(server: Server) -> nginx.Server:
    words = server.words
    counts = {
        name: _count(server, name, words[name].removesuffix("s"))
        for name in ("max_conns", "max_fails", "fail_timeout")
        if name in words
    }
    weight = cast("int", server.weight)  # checked by the class
    closed = not weight and "weight" not in words  # nginx itself refuses the weight 0
    return nginx.Server(
        server.name,
        weight=1 if closed else weight,
        down=closed or "down" in words,
        backup="backup" in words,
        **counts,
    )


def _haproxy_server(server: Server) -> haproxy.Server:
    words = server.words
    return haproxy.Server(
        server.name,
        weight=cast("int", server.weight),
        id=_count(server, "id", words["id"]) if "id" in words else None,
        maxconn=_count(server, "maxconn", words.get("maxconn", "0")),
        backup="backup" in words,
        disabled="disabled" in words,
    )


def _count(server: Server, name: str, text: str) -> int:
    value = whole_number(text)
    if value is None:
        raise BadInput(f"{name} of {shown(server.name)} must be a whole number, not {shown(text)}")
    return value
