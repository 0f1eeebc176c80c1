"""Provides histories of balancers: drawn members, weights, keys and traffic."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from balancers.testing._choices import Choices
from balancers.testing._laboratory import Laboratory, Settings
from balancers.testing._palettes import FORMS, KEYS, NAMES, ODD_NAMES, WEIGHTS

__all__ = ["ACTIONS", "BalancerLaboratory"]

ACTIONS = ("request", "finish", "flip", "put", "discard", "re_add", "pick", "avoid", "tick")
"""The actions of a history, each one a method of the laboratory."""

_MANY = 32
"""The number of members that a program inserts in a loop."""


def _itself(text: str) -> str:
    return text


class BalancerLaboratory(Laboratory):
    """Drives one balancer, named ``lb``, and further ones that get the same calls.

    ``weights`` and ``in_flight`` are the model: the members with their weights, in order of
    insertion, and the requests in flight.  ``last_weights`` has the last positive weights.  They
    are changed by the methods of this class only.
    """

    def __init__(self, settings: Settings, choices: Choices, *, recording: bool = False) -> None:
        super().__init__(settings, choices, recording=recording)
        if callable(settings.keys):
            self.program.namespace["key_of"] = settings.keys
        self.keyed = "keyed" in settings.traits
        self.stacked = "stacked" in settings.traits
        self.weights: dict[str, float] = {}
        self.last_weights: dict[str, float] = {}
        self.in_flight: Counter[str] = Counter()
        self.now = 0.0
        self.names: Sequence[str] = NAMES
        self.palette: Sequence[float] = (1,)
        self.actions: Sequence[str] = ACTIONS
        self._keys = ""
        self._views: dict[str, Callable[[str], Any]] = {}

    @staticmethod
    def differs(settings: Settings) -> bool:
        """Return whether two new balancers that get the same calls pick differently."""
        picks: list[list[str]] = []
        for _ in range(2):
            laboratory = BalancerLaboratory(settings, Choices())
            laboratory.begin(least=min(4, settings.max_members))
            for backend in laboratory.names:
                laboratory.put(backend, 1)
            picks.append([laboratory.pick(laboratory.key()) for _ in range(60)])
        return picks[0] != picks[1]

    def begin(
        self,
        *,
        least: int = 0,
        most: int = 12,
        actions: Sequence[str] = ACTIONS,
        twins: Sequence[str] = (),
        odd_names: bool = True,
    ) -> None:
        """Make ``lb``, draw the conditions of this example, and insert the first members.

        There are ``least`` to ``most`` members.  ``twins`` are further balancers that get the same
        calls.

        Each example has its own number of names, its own weights, and its own mix of actions, so
        that rare combinations occur (swarm testing, Groce et al. 2012).
        """
        for name in ("lb", *twins):
            if name not in self._views:
                self.make_balancer(name)
        most = max(least, min(most, self.settings.max_members))
        size = min(most, 4) if self.below(4) < 3 else most  # three of four are small
        names = ODD_NAMES if odd_names and self.below(3) == 2 and most <= 12 else NAMES
        self.names = names[: max(least, 1 + self.below(size))]
        self.palette = self.drawn_palette()
        self.actions = [action for action in actions if self.below(4) < 3] or actions
        for backend in self.names:
            if len(self.weights) < least or self.below(4) < 3:
                self.put(backend, self.one_of(self.palette))

    def drawn_palette(self) -> Sequence[float]:
        """Return weights to draw from: equal ones in a part of the examples."""
        every = self.settings.weights or WEIGHTS
        return every[:1] if self.below(3) == 0 else every

    def make_balancer(self, name: str, view: Callable[[str], Any] = _itself) -> None:
        """Make a balancer that gets the calls of this history.

        ``view`` converts the name of a backend for this balancer.
        """
        self.make(name)
        self._views[name] = view

    def add_twin(self, name: str, expression: str) -> None:
        """Let ``name`` be the value of an expression, and give it all calls from now on.

        From now on the picks of all balancers must be equal.
        """
        self.run(f"{name} = {expression}")
        self._views[name] = self._views["lb"]

    def eligible(self, avoid: Collection[str] = ()) -> list[str]:
        """Return the backends that may be picked."""
        return [b for b, weight in self.weights.items() if weight and b not in avoid]

    def key(self) -> Any:
        """Return a drawn key; None if the balancer is not keyed."""
        if not self.keyed:
            return None
        keys = self.settings.keys
        if callable(keys):
            return keys(self.below(100))
        return self.one_of(keys or KEYS)

    def let_keys(self, count: int, *, odd: bool = False) -> list[Any]:
        """Let ``keys`` be up to ``count`` different keys in later lines; return them.

        With ``odd``, there are unusual keys too, for example an empty text.
        """
        given = self.settings.keys
        values: dict[str, Any] = {"count": count}
        if given is None and odd:
            line = "keys = [*given, *(f'key-{n}' for n in range(count))]"
            values["given"] = [*KEYS]
        elif given is None:
            line = "keys = [f'key-{n}' for n in range(count)]"
        elif callable(given):
            line = "keys = [key_of(n) for n in range(count)]"
        else:
            line, values = "keys = given", {"given": list(dict.fromkeys(given))[:count]}
        if self._keys != line + repr(values):
            self._keys = line + repr(values)
            self.run(line, **values)
        keys: list[Any] = self.program.namespace["keys"]
        return keys

    def put(self, backend: str, weight: float) -> None:
        """Insert the backend, or change its weight."""
        for name, view in self._views.items():
            self.run(f"{name}.put(backend, weight=weight)", backend=view(backend), weight=weight)
        self.weights[backend] = weight
        if weight or backend not in self.last_weights:
            self.last_weights[backend] = weight

    def discard(self, backend: str) -> None:
        """Remove the backend; in a stacked balancer only the last member can leave."""
        if self.stacked and backend in self.weights:
            backend = [*self.weights][-1]
        for name, view in self._views.items():
            self.run(f"{name}.discard(backend)", backend=view(backend))
        self.weights.pop(backend, None)
        self.last_weights.pop(backend, None)
        self.in_flight.pop(backend, None)

    def arguments(self, key: Any, avoid: Collection[str] = ()) -> dict[str, Any]:
        """Return the arguments of ``pick`` that differ from their defaults."""
        given: dict[str, Any] = {} if key is None else {"key": key}
        if self.now:
            given["now"] = self.now
        if avoid:
            given["avoid"] = avoid
        return given

    @staticmethod
    def call(arguments: Mapping[str, Any]) -> str:
        """Return the text of the arguments in a line: each one has the name of its value."""
        return ", ".join(f"{name}={name}" for name in arguments)

    def avoided(self, backends: Sequence[str]) -> Collection[str]:
        """Return the backends as one of the collections that ``avoid`` may be."""
        return self.one_of(FORMS)(backends)

    def pick(self, key: Any, avoid: Sequence[str] = ()) -> str:
        """Pick with every balancer, check that the picks are equal, and return the pick.

        There must be an eligible backend.  That the pick is eligible is not checked.
        """
        arguments = self.arguments(key, avoid)
        call = self.call(arguments)
        picked = ""
        for name, view in self._views.items():
            if avoid:
                arguments["avoid"] = [view(backend) for backend in avoid]
            if type(key) is str:
                arguments["key"] = view(key)
            if name == "lb":
                picked = self.run(f"lb.pick({call})", **arguments)
            else:
                why = f"{name} picks another backend than lb"
                line = f"{name}.pick({call}) == picked"
                self.check(line, why, **arguments, picked=str(picked))
        return str(picked)

    def start(self, backend: str, *, bound: bool = False) -> None:
        """Report that a request starts."""
        self._report("started", backend, {"bound": True} if bound else {})
        if backend in self.weights:
            self.in_flight[backend] += 1

    def finish(self, backend: str, outcome: str = "SUCCESS") -> None:
        """Report that a request ends.  ``outcome`` is an expression."""
        self._report("finished", backend, {}, f"outcome={outcome}")
        if self.in_flight[backend] > 0:
            self.in_flight[backend] -= 1

    def finish_all(self) -> None:
        """Report the end of all requests in flight."""
        for backend, count in [*self.in_flight.items()]:
            for _ in range(count):
                self.finish(backend)

    def _report(self, method: str, backend: str, values: dict[str, Any], extra: str = "") -> None:
        if self.now:
            values = {"now": self.now, **values}
        parts = ["backend", *([extra] if extra else []), *(f"{name}={name}" for name in values)]
        line = ", ".join(parts)
        for name, view in self._views.items():
            self.run(f"{name}.{method}({line})", backend=view(backend), **values)

    def step(self) -> None:
        """Perform one drawn action."""
        getattr(self, f"_{self.one_of(self.actions)}")()

    def history(self, mean: int = 16) -> None:
        """Perform drawn actions, ``mean`` on average."""
        for _ in self.more(mean):
            self.step()

    def add_members(self, count: int, weight: float = 1) -> list[str]:
        """Make ``lb`` if it does not exist, and insert this many members; return them."""
        if not self._views:
            self.make_balancer("lb")
        count = min(count, self.settings.max_members)
        members = [*NAMES[:count]]
        if count < _MANY or len(self._views) > 1:
            for backend in members:
                self.put(backend, weight)
            return members
        loop = "for backend in members:\n    lb.put(backend, weight=weight)"
        self.run(loop, members=members, weight=weight)
        self.weights |= dict.fromkeys(members, weight)
        self.last_weights |= dict.fromkeys(members, weight)
        return members

    def _put(self) -> None:
        weight = 0 if self.below(8) == 7 else self.one_of(self.palette)
        self.put(self.one_of(self.names), weight)

    def _flip(self) -> None:
        if self.weights:
            backend = self.one_of([*self.weights])
            self.put(backend, 0 if self.weights[backend] else self.one_of(self.palette))

    def _discard(self) -> None:
        self.discard(self.one_of(self.names))

    def _re_add(self) -> None:
        if self.weights:
            backend = self.one_of([*self.weights])
            backend = [*self.weights][-1] if self.stacked else backend
            weight = self.weights[backend]
            self.discard(backend)
            self.put(backend, weight)

    def _pick(self) -> None:
        if self.eligible():
            self.pick(self.key())

    def _avoid(self) -> None:
        avoid = self.some_of(self.names)
        if self.eligible(avoid):
            self.pick(self.key(), avoid)

    def _request(self) -> None:
        if self.eligible():
            self.start(self.pick(self.key()))

    def _start(self) -> None:
        if self.weights:
            self.start(self.one_of([*self.weights]), bound=True)

    def _finish(self) -> None:
        flying = [backend for backend, count in self.in_flight.items() if count]
        if self.below(8) == 7:
            flying = [*self.names]
        if flying:
            outcomes = ("SUCCESS", "FAILURE", "UNKNOWN", "Outcome(ok=True, elapsed=0.25)")
            self.finish(self.one_of(flying), self.one_of(outcomes))

    def _tick(self) -> None:
        self.now += self.one_of((0.5, 0.25, 10.0))
