"""What the LUA records of PowerDNS answer, with the policies of ours that do the same."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

from balancers.gslb import Client, ClientSubnet, Failover, Geolocation, NetworkTable, Place, Region
from tests.parity.bounds import Answer
from tests.parity.gdnsd_maps import NotHeld, places_of
from tests.parity.powerdns_closest import Closest
from tests.parity.powerdns_zone import Call, Chain, Table, lua

__all__ = ["Picked", "Programs", "Question"]

_WHO = "return bestwho:toString()..' '..(ecswho and ecswho:toString() or 'none')"
_MOST = 4096
"""The greatest number of possible answers that are listed."""
_LEVELS = {"continent": "continent", "country": "country", "region": "subdivision"}


class Picked(NamedTuple):
    """The probabilities of the answers, and whether a hash of the client picks one of them."""

    odds: Mapping[Answer, Fraction]
    hashed: bool = False


class Question(NamedTuple):
    """What an answer depends on."""

    client: Any
    subnet: ClientSubnet | None
    listening: Sequence[str] | None
    """The addresses that accept connections; None if the recording does not say."""


class Programs:
    """Evaluates the programs of a zone for clients."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = list(rows)
        self._places = places_of(self._rows)

    def kind(self, program: str) -> str:
        """Return the name of what a program does."""
        value = self._read(program)
        if isinstance(value, Call):
            options = _options(value)
            return " ".join(
                [value.name, *([str(options["selector"])] if "selector" in options else [])]
            )
        if isinstance(value, Chain):
            return "conditions"
        return "bestwho" if value is None else "constant"

    def picked(self, program: str, question: Question) -> Picked:
        """Return what a program answers."""
        value = self._read(program)
        if value is None:
            subnet = question.subnet
            if subnet is not None and not subnet.source:
                raise NotHeld("PowerDNS uses the address of a source of 0, which RFC 7871 forbids")
            whole = "none" if subnet is None else f"{subnet.address}/{subnet.source}"
            return _one(f'"{question.client} {whole}"')
        return self._value(value, question)

    def _read(self, program: str) -> Any:
        """Return a program as a value; None is that which answers the client's address."""
        if program.strip().lstrip(";").strip() == _WHO:
            return None
        try:
            return lua(program)
        except ValueError as error:
            raise NotHeld(
                "a Lua program that is neither a call nor a chain of conditions"
            ) from error

    def _value(self, value: Any, question: Question) -> Picked:
        if isinstance(value, str):
            return _one(value)
        if isinstance(value, Table):
            return Picked({frozenset(map(str, value.values)): Fraction(1)})
        if isinstance(value, Chain):
            for condition, then in value.cases:
                if condition is None or self._holds(condition, question.client):
                    return self._value(then, question)
            return Picked({frozenset(): Fraction(1)})
        if isinstance(value, Call):
            method = getattr(self, f"_{value.name}", None)
            if method is not None:
                picked: Picked = method(value, question)
                return picked
            raise NotHeld(f"the function {value.name!r}")
        raise NotHeld(f"the value {value!r}")

    def _holds(self, condition: Call, client: Any) -> bool:
        level = _LEVELS.get(condition.name)
        if level is None:
            raise NotHeld(f"the condition {condition.name!r}")
        [codes] = condition.arguments
        place = self._places.get(client)
        known = None if place is None else Place(**{level: getattr(place, level)})
        region = Region("matching", ["matching"])
        policy = Geolocation(dict.fromkeys(_texts(codes), region), widen=False)
        return len(policy.rank(Client(place=known), 0.0)) > 0

    def _pickclosest(self, call: Call, question: Question) -> Picked:
        return _one(Closest(_texts(call.arguments[0]), self._rows).nearest(question.client))

    def _pickrandom(self, call: Call, question: Question) -> Picked:
        return _even([[text] for text in _texts(call.arguments[0])])

    def _pickrandomsample(self, call: Call, question: Question) -> Picked:
        number, texts = call.arguments[0], _texts(call.arguments[1])
        number = min(int(number), len(texts))
        if comb(len(texts), number) > _MOST:
            raise NotHeld(f"more than {_MOST} answers are possible")
        return _even([list(each) for each in combinations(texts, number)])

    def _pickhashed(self, call: Call, question: Question) -> Picked:
        return self._pickrandom(call, question)._replace(hashed=True)

    def _pickwrandom(self, call: Call, question: Question) -> Picked:
        pairs = [
            (Fraction(str(weight)), str(text))
            for weight, text in (x.values for x in call.arguments[0].values)
        ]
        total = sum(weight for weight, _ in pairs)
        return _summed((frozenset({text}), weight / total) for weight, text in pairs)

    def _pickwhashed(self, call: Call, question: Question) -> Picked:
        return self._pickwrandom(call, question)._replace(hashed=True)

    def _view(self, call: Call, question: Question) -> Picked:
        """Pick at random from the first entry with a network that contains the client."""
        for entry in call.arguments[0].values:
            nets, answers = entry.values
            if NetworkTable((net, True) for net in _texts(nets)).get(question.client):
                return _even([[text] for text in _texts(answers)])
        return Picked({frozenset(): Fraction(1)})

    def _ifportup(self, call: Call, question: Question) -> Picked:
        sets = call.arguments[1].values
        nested = (
            [_texts(each) for each in sets]
            if isinstance(sets[0], Table)
            else [list(map(str, sets))]
        )
        return self._up(nested, _options(call), question)

    def _ifurlup(self, call: Call, question: Question) -> Picked:
        """Select as ``ifportup`` does, if nothing listens: then no URL answers."""
        if question.listening:
            raise NotHeld("which addresses accept connections is recorded, not which URL answers")
        return self._ifportup(call, question)

    def _up(self, sets: list[list[str]], options: Mapping[str, Any], question: Question) -> Picked:
        """Select from the addresses that are up in the first set with one, else from all."""
        if question.listening is None:
            raise NotHeld("which addresses are up is not recorded")
        regions = [Region(f"set {at}", each, up_thresh=0.0) for at, each in enumerate(sets)]
        for region in regions:
            for address in region.members:
                region.set_up(address, address in question.listening, 0.0)
        answer = Failover(regions).answer(Client(question.client), 0.0)
        members = (
            [text for each in sets for text in each] if answer.health_ignored else [*answer.members]
        )
        default = options.get("selector", "random")
        selector = options.get("backupSelector", "random") if answer.health_ignored else default
        if selector == "all":
            return Picked({frozenset(members): Fraction(1)})
        if selector == "pickclosest":
            return _one(Closest(members, self._rows).nearest(question.client))
        if selector not in {"random", "hashed"}:
            raise NotHeld(f"the selector {selector!r}")
        return _even([[text] for text in members])._replace(hashed=selector == "hashed")


def _options(call: Call) -> Mapping[str, Any]:
    last = call.arguments[-1] if call.arguments else None
    return last.named if isinstance(last, Table) else {}


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value.values]


def _one(text: str) -> Picked:
    return Picked({frozenset({text}): Fraction(1)})


def _even(answers: Sequence[Sequence[str]]) -> Picked:
    return _summed((frozenset(answer), Fraction(1, len(answers))) for answer in answers)


def _summed(pairs: Iterable[tuple[Answer, Fraction]]) -> Picked:
    odds: dict[Answer, Fraction] = {}
    for answer, odd in pairs:
        if odd:
            odds[answer] = odds.get(answer, Fraction(0)) + odd
    return Picked(odds)
