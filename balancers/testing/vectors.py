"""Provides sequences and maps of picks that are published or were recorded, as plain data.

The published ones are small and part of the package.  Recorded picks of real programs are JSON
files; a program passes the directory that has them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting

__all__ = ["Vector", "vectors"]


class Vector(NamedTuple):
    """One case: a configuration, the requests, and the picks.

    ``source`` names the publication, or the program and its version.  ``policy`` is the name that
    the source uses.  ``config`` has the weights and settings.  ``keys`` are the keys of the
    requests, or None if the policy has no keys.  ``picks`` are the expected picks in order.
    ``details`` has all other entries of a recorded file, for example ``ops``.

    >>> case = vectors()[0]
    >>> case.name, case.config, "".join(case.picks)
    ('smooth weighted round robin 5-1-1', {'weights': {'a': 5, 'b': 1, 'c': 1}}, 'aabacaa')
    """

    name: str
    source: str
    policy: str
    config: Mapping[str, Any]
    keys: Sequence[Any] | None
    picks: Sequence[Any]
    details: Mapping[str, Any] = MappingProxyType({})


_NGINX = "nginx, commit 52327e0, src/http/ngx_http_upstream_round_robin.c"
_SMOOTH = {
    "aabacaa": {"a": 5, "b": 1, "c": 1},
    "abcabacba": {"a": 4, "b": 3, "c": 2},
    "abacba": {"a": 3, "b": 2, "c": 1},
    "abacaba": {"a": 4, "b": 2, "c": 1},
    "abcaabacba": {"a": 5, "b": 3, "c": 2},
    "aaabaacaadaaa": {"a": 10, "b": 1, "c": 1, "d": 1},
    "abcadbaeabcabdacba": {"a": 7, "b": 5, "c": 3, "d": 2, "e": 1},
}
"""One period of smooth weighted round robin for each set of weights."""
_EDF = {
    "aaaabca": {"a": 5, "b": 1, "c": 1},
    "aaaaaaaaabcda": {"a": 10, "b": 1, "c": 1, "d": 1},
}
"""One period of an earliest-deadline-first queue whose deadlines begin at 1/weight."""
_JUMP = {(1, 1): 0, (42, 57): 43, (0xDEAD10CC, 1): 0, (0xDEAD10CC, 666): 361, (256, 1024): 520}
"""The bucket of each pair of a 64-bit key and a number of buckets."""


_FIELDS = {"id", "oracle", "policy", "config", "keys", "picks"}


def vectors(directory: str | Path | None = None) -> list[Vector]:
    """Return the published cases, or those recorded in the JSON files of a directory.

    Without a directory, the cases are the published sequences of nginx's smooth weighted round
    robin, of an earliest-deadline-first queue, and values of the jump hash.  In a directory, each
    file ``*.json`` is one recorded case, in the format that the file ``tests/vectors/README.md`` of
    the project describes; subdirectories are included.  Files without ``picks`` are left out, and
    so are recordings of another kind, which have neither an oracle nor a policy.

    >>> from balancers.algorithms import WeightedRoundRobin
    >>> smooth = [case for case in vectors() if case.policy == "smooth weighted round robin"]
    >>> len(smooth)
    7
    >>> for case in smooth:
    ...     lb = WeightedRoundRobin(case.config["weights"])
    ...     assert [lb.pick() for _ in case.picks] == case.picks

    Raises InvalidSetting for a directory that has no such files, and for a file that is not one.
    """
    return [*_published()] if directory is None else [*_recorded(Path(directory))]


def _published() -> Iterator[Vector]:
    for policy, source, periods in (
        ("smooth weighted round robin", _NGINX, _SMOOTH),
        ("earliest deadline first", "Envoy, issue 31378: the first picks", _EDF),
    ):
        for picks, weights in periods.items():
            name = f"{policy} {'-'.join(map(str, weights.values()))}"
            yield Vector(name, source, policy, {"weights": weights}, None, [*picks])
    for (key, buckets), bucket in _JUMP.items():
        name, source = f"jump hash {key} {buckets}", "Go package dgryski/go-jump, its tests"
        yield Vector(name, source, "jump hash", {"buckets": buckets}, [key], [bucket])


def _recorded(directory: Path) -> Iterator[Vector]:
    files = sorted(directory.rglob("*.json"))
    if not files:
        raise InvalidSetting(f"no JSON files in {shown(str(directory))}")
    other_kinds: list[Path] = []
    for file in files:
        try:
            found: Any = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidSetting(f"{shown(file.name)} is no JSON: {shown(str(error))}") from None
        case = cast("dict[str, Any]", found if isinstance(found, dict) else {})
        fields = set(case)
        if not fields & {"oracle", "policy", "picks"}:
            other_kinds.append(file)
            continue
        if not fields >= {"oracle", "policy", "config"}:
            raise InvalidSetting(f"{shown(file.name)} needs oracle, policy and config")
        if "picks" in case:
            yield Vector(
                name=file.stem,
                source=str(case["oracle"]),
                policy=str(case["policy"]),
                config=case["config"],
                keys=case.get("keys"),
                picks=case["picks"],
                details={name: value for name, value in case.items() if name not in _FIELDS},
            )
    if len(other_kinds) == len(files):
        raise InvalidSetting(f"{shown(files[0].name)} needs oracle, policy and config")
