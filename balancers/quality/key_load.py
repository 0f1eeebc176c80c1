"""Computes the load of each server when requests have keys and some keys are frequent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from balancers._internal.checks import LATEST, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.quality._arguments import not_negative_number, numbered, positive_weights
from balancers.quality._owners import AnyKeyed, Owners, factorised, is_keyed, picked
from balancers.quality._table import table

__all__ = ["KeyLoad", "key_load"]

K = TypeVar("K", bound=Key)
"""The type of the keys."""


@dataclass(frozen=True, repr=False)
class KeyLoad(Generic[B]):
    """Describes the load of each server under keyed requests.  ``print`` shows the hottest.

    >>> from balancers.quality import key_load
    >>> found = key_load({"x": 3, "y": 1}, {"x": "a", "y": "b"}, load=0.8)
    >>> print(found)
    total load 0.8; a load of 1 or more: 1 of 2 servers
    server  share  fair  load
    a        0.75   0.5   1.2
    b        0.25   0.5   0.4
    """

    load: float
    """The total load, as a fraction of the total capacity."""
    loads: Mapping[B, float]
    """The load of each server, as a fraction of its capacity.  It is ``inf`` for a server of weight
    0 that owns requested keys."""
    shares: Mapping[B, float]
    """The fraction of all requests that each server gets."""
    fair: Mapping[B, float]
    """The fraction of the total capacity that each server has."""

    @property
    def hottest(self) -> B:
        """The server with the largest load.  Of several, it is the first."""
        return max(self.loads, key=self.loads.__getitem__)

    @property
    def peak(self) -> float:
        """The largest load of a server."""
        return max(self.loads.values())

    @property
    def overloaded(self) -> tuple[B, ...]:
        """The servers with a load of 1 or more, with the hottest first.

        Their queues grow without end.  So if there are any, response times have no steady state.
        """
        hot = [server for server, load in self.loads.items() if load >= 1]
        return tuple(sorted(hot, key=lambda server: -self.loads[server]))

    def __repr__(self) -> str:
        return (
            f"<KeyLoad: total {self.load:.3g}, peak {self.peak:.3g}, "
            f"{len(self.overloaded)} of {len(self.loads)} servers overloaded>"
        )

    def __str__(self) -> str:
        order = sorted(self.loads, key=lambda server: -self.loads[server])
        rows = [(s, self.shares[s], self.fair[s], self.loads[s]) for s in order]
        hot = len(self.overloaded)
        summary = f"total load {self.load:.3g}; a load of 1 or more: {hot} of {len(order)} servers"
        return f"{summary}\n{table(('server', 'share', 'fair', 'load'), rows)}"


def key_load(
    shares: Mapping[K, float] | Sequence[float] | NDArray[Any],
    owners: Owners[B] | Mapping[K, B],
    load: float,
    *,
    weights: Mapping[B, float] | None = None,
) -> KeyLoad[B]:
    """Return the load of each server, if each key's requests go to the owner of the key; O(keys).

    ``shares`` contains the fraction of the requests of each key.  It is an array ``float64[keys]``
    or a sequence for the keys 0, 1, 2 and so on, or a mapping of keys to shares.  The shares are
    divided by their sum, so numbers of requests may be passed too.  For a key law of a simulation,
    pass its ``shares``, for example ``ZipfKeys(10_000, 1.0).shares``.  ``owners`` is a keyed
    balancer, a mapping of keys to servers, or a sequence of the server of each key.  ``load`` is
    the total load as a fraction of the total capacity.  ``weights`` contains the capacity of each
    server.  By default these are the weights of the balancer, or 1 for each owner.

    With a few frequent keys, the total load says little.  Here it is 0.9, and yet 21 of 100 servers
    get more than they can serve:

    >>> from balancers import HashRing
    >>> ranks = np.arange(1, 10_001)
    >>> found = key_load(1 / ranks, HashRing([f"s{i}" for i in range(100)]), load=0.9)
    >>> round(found.peak, 1), len(found.overloaded)
    (10.6, 21)

    Raises InvalidSetting for a share that is negative, NaN or infinite, if the sum of the shares is
    0, if there are more or fewer owners than shares, and if ``load`` is not from 0 to 1e300.
    Raises InvalidWeight for an invalid weight, and if the sum of the weights is 0.  Raises
    UnknownBackend for an owner that is not in ``weights``.  Raises TypeError, InvalidKey and
    NoBackendAvailable as ``pick_many`` does.
    """
    load = not_negative_number("load", load)
    keys, portions = _shares(shares)
    members, places = _owners(keys, owners)
    if weights is not None:
        capacities = positive_weights(weights)
    elif is_keyed(owners):
        capacities = positive_weights(cast("AnyKeyed[B]", owners).weights)
    else:
        capacities = dict.fromkeys(members, 1.0)
    used = np.bincount(places, weights=portions, minlength=len(members)).tolist()
    share_of: dict[B, float] = dict.fromkeys(capacities, 0.0)
    for server, share in zip(members, used, strict=True):
        if server in share_of:
            share_of[server] = share
        elif share:
            raise UnknownBackend(server)
    total = sum(map(float, capacities.values()))
    fair = {server: float(weight) / total for server, weight in capacities.items()}
    loads = {
        server: load * share / fair[server] if fair[server] else np.inf * share if share else 0.0
        for server, share in share_of.items()
    }
    return KeyLoad(load, loads, share_of, fair)


def _shares(
    shares: Mapping[Any, float] | Sequence[float] | NDArray[Any],
) -> tuple[Sequence[Any], NDArray[np.float64]]:
    """Return the keys, and the fraction of the requests of each of them."""
    if isinstance(shares, np.ndarray) and shares.ndim == 1 and shares.dtype.kind in "iuf":
        keys: Sequence[Any] = range(len(shares))
        values = shares.astype(np.float64)
        wrong = np.flatnonzero(~((values >= 0) & (values <= LATEST)))
        if len(wrong):
            not_negative_number(f"the share of key {wrong[0]}", float(values[wrong[0]]))
    else:
        given = numbered("shares", shares)
        keys = list(given)
        values = np.array(
            [not_negative_number(f"the share of key {shown(k)}", v) for k, v in given.items()],
            dtype=np.float64,
        )
    if not values.any():
        raise InvalidSetting(f"shares must have a positive sum, not {shown(shares)}")
    return keys, values / values.sum()


def _owners(keys: Sequence[Any], owners: Owners[B] | Mapping[Any, B]) -> tuple[list[B], Any]:
    """Return the servers, and the index of each key's server among them."""
    if is_keyed(owners):
        return picked(cast("AnyKeyed[B]", owners), keys)
    if isinstance(owners, Mapping):
        for key in keys:
            if key not in owners:
                raise InvalidSetting(f"the key {shown(key)} has a share and no owner")
        owners = [owners[key] for key in keys]
    members, places = factorised("owners", cast("Sequence[B]", owners))
    if len(places) != len(keys):
        raise InvalidSetting(f"there are {len(keys)} shares and {len(places)} owners")
    return members, places
