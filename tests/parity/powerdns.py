"""Replay the answers of PowerDNS: LUA records, and names of its geoip backend.

``pickclosest`` is compared exactly with ``Distance`` unless one of its differences decides, which
``powerdns_closest.py`` finds from the data.  ``view``, chains of ``continent``, ``country`` and
``region``, services of the geoip backend, and answers that only health decides are exact.  Hashes
and random choices are statistical: each answer must be possible, and the counts must be within the
bound of ``bounds.py``.  Of a hash these are the counts over all clients of the recording, and equal
clients must get equal answers.

The scope is compared for services of the geoip backend: it is that of the network in the database,
and the whole address for a client in no network, which is not compared.  LUA records announce the
client's own length, where ours is the largest network with this answer.  A client subnet with a
source of 0 has the address 0.0.0.0 or ::, which PowerDNS uses; so it is the client here too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from ipaddress import ip_address, ip_interface
from typing import Any, NamedTuple

from balancers.gslb import ClientSubnet, NetworkTable, TimeToLive
from tests.parity.bounds import Answer, beyond
from tests.parity.gdnsd_maps import NotHeld
from tests.parity.powerdns_geo import GeoZones
from tests.parity.powerdns_lua import Programs, Question
from tests.parity.powerdns_zone import lua_records, origin
from tests.parity.recordings import Tally, different

__all__ = ["replay"]

RESOLVER = "127.0.0.1"
"""Where the questions came from."""
_IPV4 = NetworkTable({"0.0.0.0/0": True})
"""Whether an address is looked up as IPv4."""


def replay(recording: Mapping[str, Any]) -> Iterable[Tally]:
    """Return one tally per function."""
    player = _Player(recording)
    for case in recording["cases"]:
        player.play(case)
    player.end()
    return player.tallies.values()


class _Player:
    def __init__(self, recording: Mapping[str, Any]) -> None:
        rows = recording["geo"]
        zone = str(recording.get("zone", ""))
        self._origin = origin(zone)
        self._records = lua_records(zone)
        self._programs = Programs(rows)
        self._geo = GeoZones(str(recording.get("geo_zone", "")), rows)
        self._hashed: dict[tuple[str, str], _Hashed] = {}
        self.tallies: dict[str, Tally] = {}

    def play(self, case: Mapping[str, Any]) -> None:
        """Compare or count one case, or name it as out of scope."""
        name = str(case.get("record", case.get("name")))
        title = " ".join(
            [name, *(str(case[key]) for key in ("client", "listening") if key in case)]
        )
        subnet = _subnet(case)
        client = ip_address(RESOLVER) if subnet is None else subnet.address
        if client.version != 4 and _IPV4.get(client):
            reason = (
                "PowerDNS looks up the IPv6 address, and ours the IPv4 address that it contains"
            )
            self._tally("client with an IPv4 address in IPv6").leave(title, reason)
            return
        record = self._records.get(name.removesuffix(f".{self._origin}"))
        if record is None:
            self._backend(case, name, title, client)
            return
        _, ttl, program = record
        try:
            tally = self._tally(self._programs.kind(program))
        except NotHeld as reason:
            self._tally("other program").leave(title, str(reason))
            return
        try:
            picked = self._programs.picked(program, Question(client, subnet, _listening(case)))
        except NotHeld as reason:
            tally.leave(title, str(reason))
            return
        if picked.hashed and len(picked.odds) > 1 and "answers" in case:
            group = self._hashed.setdefault((tally.kind, name), _Hashed(tally, {}, {}))
            group.add(title, client, picked.odds, frozenset(case["answers"]))
        else:
            self._compare(tally, case, title, picked.odds, ttl)

    def _backend(self, case: Mapping[str, Any], name: str, title: str, client: Any) -> None:
        tally = self._tally("geoip backend")
        kind = str(case.get("type", "A")).lower()
        try:
            found = self._geo.find(name, client, kind)
        except NotHeld as reason:
            tally.leave(title, str(reason))
            return
        if found is None:
            tally.leave(title, "no recorded zone has the name")
            return
        scope = None if case.get("scope") is None else found.scope
        self._compare(tally, case, title, found.odds, found.ttl, scope)

    def _compare(
        self,
        tally: Tally,
        case: Mapping[str, Any],
        title: str,
        odds: Mapping[Answer, Fraction],
        ttl: int,
        scope: int | None = None,
    ) -> None:
        """Compare a case; the scope is not compared if it is None."""
        if "counts" in case:
            counts = {frozenset(text.split()): count for text, count in case["counts"].items()}
            tally.count(title, beyond(counts, odds, int(case["queries"])))
            return
        recorded = frozenset(case["answers"])
        seconds = case.get("ttl", ttl) if recorded else None
        outside = (case["rcode"], seconds, None if scope is None else case["scope"])
        ours = ("NOERROR", TimeToLive(ttl, ttl).seconds() if recorded else None, scope)
        if len(odds) == 1:
            [answer] = odds
            tally.check(title, (sorted(recorded), *outside), (sorted(answer), *ours))
        else:
            wrong = "" if recorded in odds else f"{case['answers']} is not a possible answer"
            tally.count(title, wrong or different(outside, ours))

    def _tally(self, kind: str) -> Tally:
        return self.tallies.setdefault(kind, Tally(f"PowerDNS {kind}"))

    def end(self) -> None:
        """Compare the counts over all clients of each hash."""
        for (_, name), group in self._hashed.items():
            group.end(name)


class _Hashed(NamedTuple):
    """The answers of a record that picks by a hash of the client."""

    tally: Tally
    answers: dict[Any, Answer]
    odds: dict[Any, Mapping[Answer, Fraction]]

    def add(self, title: str, client: Any, odds: Mapping[Answer, Fraction], answer: Answer) -> None:
        """Count one answer: it must be possible, and equal for equal clients."""
        key = (client, frozenset(odds))
        before = self.answers.setdefault(key, answer)
        wrong = "" if answer in odds else "not a possible answer"
        if before != answer:
            wrong = "the same client got another answer"
        self.odds[key] = odds
        self.tally.count(title, wrong and f"{sorted(answer)}: {wrong}")

    def end(self, name: str) -> None:
        """Compare the counts over all different clients with the probabilities."""
        groups: dict[frozenset[Answer], list[Any]] = {}
        for key in self.answers:
            groups.setdefault(key[1], []).append(key)
        for keys in groups.values():
            counts = Counter(self.answers[key] for key in keys)
            wrong = beyond(counts, self.odds[keys[0]])
            if wrong:
                self.tally.problems.append(f"{name}, over {len(keys)} clients: {wrong}")


def _subnet(case: Mapping[str, Any]) -> ClientSubnet | None:
    if case.get("client") is None:
        return None
    network = ip_interface(case["client"]).network
    return ClientSubnet(network.network_address, network.prefixlen)


def _listening(case: Mapping[str, Any]) -> list[str] | None:
    """Return which addresses are up; before the first check, none is."""
    if "nothing checked" in str(case.get("note", "")):
        return []
    return case.get("listening")
