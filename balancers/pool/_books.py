"""The pool's books: who is a member, what each gate makes of it, and what the balancer was told.

Everything a refusal reports is kept as it changes, so refusing under overload costs no scan.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from operator import attrgetter
from typing import Any

from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting, NoBackendAvailable, UnknownBackend
from balancers.event import Event
from balancers.gate import Gate
from balancers.pool._member import Account
from balancers.pool._standing import Standing

__all__ = ["Books", "hooks"]

_number = attrgetter("number")


class Books(Standing[B]):
    """Accounts, the news of gates, and what the balancer was told."""

    def __init__(
        self,
        balancer: Balancer[B],
        gates: Iterable[Gate[B]],
        panic: float,
        calm: float,
        events: deque[Event] | None,
    ) -> None:
        super().__init__(gates, panic, calm)
        if events is not None and (not isinstance(events, deque) or events.maxlen is None):
            raise InvalidSetting(f"events must be a deque with a maxlen, not {events!r}")
        self.balancer = balancer
        self.accounts: dict[B, Account[B]] = {}
        self.news: dict[B, list[int]] = {}
        self._events = events
        self._number = 0
        self._recovered = hooks(self.gates, Gate, "recovered")

    def account(self, backend: B) -> Account[B]:
        """Give a member's account.  Raises UnknownBackend."""
        account = self.accounts.get(backend)
        if account is None:
            raise UnknownBackend(backend)
        return account

    def in_flight(self, backend: B) -> int:
        """Give the leases out on a backend, 0 for a stranger: what gates read."""
        account = self.accounts.get(backend)
        return 0 if account is None else account.in_flight

    def ask(self, backend: B, now: float) -> list[float]:
        """Ask every gate for its factor."""
        return [self._factor(gate, backend, now) for gate in self.gates]

    def change(
        self,
        joiners: Mapping[B, float],
        changes: Mapping[B, float],
        leavers: Collection[Account[B]],
        now: float,
    ) -> None:
        """Apply one change of membership whole, or not at all."""
        added: list[tuple[Gate[B], B]] = []
        undo: list[tuple[Account[B], tuple[float, ...]]] = []
        try:
            joined = [self._open_account(b, weight, added, now) for b, weight in joiners.items()]
            self._tell_balancer(joined, changes, leavers, undo)
        except BaseException:
            self._restore(undo, now)
            for gate, backend in added:
                gate.removed(backend, now)
            raise
        for backend, weight in changes.items():
            self._rebook(self.accounts[backend], weight, self.accounts[backend].factors)
        for account in leavers:
            self._book(account, -1)
            del self.accounts[account.backend]
            account.former = True
            for gate in self.gates:
                gate.removed(account.backend, now)
            self._record(now, "member", False, account.backend)
        for account in joined:
            self.accounts[account.backend] = account
            self._book(account, +1)
            self._record(now, "member", True, account.backend)
        self._weigh_panic(now)

    def settle(self, now: float) -> None:
        """Hear the gates that have news, and push what moved.

        A gate that raises leaves its news for the next call.
        """
        recovered = self._hear(now)
        if recovered:
            for account in recovered:
                for hook in self._recovered:
                    hook(account.backend, now)
            self._hear(now)
        self._weigh_panic(now)

    @property
    def due(self) -> float:
        """Give the least ``due`` of all gates."""
        due = -inf if self.news else inf
        for gate in self.gates:
            if gate.due < due:  # noqa: PLR1730 - half of what a refusal costs is calls
                due = gate.due
        return due

    def refusal(self, everyone: str | None = None) -> NoBackendAvailable:
        """Say why nobody can be picked: every open member was avoided, or one reason closes all."""
        closed = self._closed_hard if self.panicking else self._closed
        counts = {reason: count for reason, count in closed.items() if count}
        members = len(self.accounts)
        if everyone is not None:
            counts[everyone] = members
        elif self.open:
            counts["avoided"] = self.open
        why = "mixed" if members else "empty"
        for reason, count in counts.items():
            if count == members:
                why = reason
                break
        return NoBackendAvailable(why, counts, self.due)

    def _hear(self, now: float) -> list[Account[B]]:
        """Push what gates tell, in the order of joining, and give whom soft gates let back in.

        All that is told of a backend is heard before anything follows, so no order of gates shows.
        """
        for place, gate in enumerate(self.gates):
            if gate.due <= now:
                for backend in gate.changes(now):
                    self.news.setdefault(backend, []).append(place)
        told = [account for b in self.news if (account := self.accounts.get(b)) is not None]
        if len(told) > 1:
            told.sort(key=_number)
        recovered: list[Account[B]] = []
        for account in told:
            backend, before = account.backend, account.factors
            factors = before.copy()
            for place in self.news[backend]:
                factors[place] = self._factor(self.gates[place], backend, now)
            if factors != before:
                self._push(account, account.weight, factors)
                if 0 in before or 0 in factors:
                    self._rebook(account, account.weight, factors)
                    if self._recovered and self._sick(before) and not self._sick(factors):
                        recovered.append(account)
                else:  # a fraction: no reason comes or goes
                    account.factors = factors
                    self._soften(account)
            del self.news[backend]
        self.news.clear()
        return recovered

    def _factor(self, gate: Gate[B], backend: B, now: float) -> float:
        factor = gate.factor(backend, now)
        if not 0 <= factor <= 1:
            name = type(gate).__name__
            raise InvalidSetting(f"{name} gave {backend!r} the factor {factor!r}, not 0 to 1")
        return factor

    def _push(self, account: Account[B], weight: float, factors: list[float]) -> None:
        self._reckon(account, weight, factors)
        effective = account.in_panic if self.panicking else account.usual
        if effective != account.pushed:
            self.balancer.put(account.backend, effective)
            account.pushed = effective

    def _open_account(
        self, backend: B, weight: float, added: list[tuple[Gate[B], B]], now: float
    ) -> Account[B]:
        self._number += 1
        account = Account(backend, weight, self.accounts, self._number)
        for gate in self.gates:
            added.append((gate, backend))
            gate.added(backend, now)
        account.factors = self.ask(backend, now)
        return account

    def _tell_balancer(
        self,
        joined: Iterable[Account[B]],
        changes: Mapping[B, float],
        leavers: Iterable[Account[B]],
        undo: list[tuple[Account[B], tuple[float, ...]]],
    ) -> None:
        """Tell it of a change, less before more, so that it is judged by where the change ends.

        Who joined last leaves first, as some balancers want it.  Noted in ``undo``: whom it was
        told of, and the weights to tell it again.
        """
        for account in reversed([*leavers]):
            undo.append((account, (account.weight, account.pushed)))
            self.balancer.discard(account.backend)
        rises = {b: weight - self.accounts[b].weight for b, weight in changes.items()}
        for backend in sorted(changes, key=rises.__getitem__):
            account = self.accounts[backend]
            undo.append((account, (account.weight, account.pushed)))
            self._introduce(account, changes[backend])
        known = self.balancer.weights
        for account in joined:
            before = known.get(account.backend)
            undo.append((account, () if before is None else (before,)))
            self._introduce(account, account.weight)

    def _introduce(self, account: Account[B], weight: float) -> None:
        """Tell the whole weight, so that it is refused now or never; then what gates leave."""
        self.balancer.put(account.backend, weight)
        account.pushed = weight
        self._push(account, weight, account.factors)

    def _restore(self, undo: list[tuple[Account[B], tuple[float, ...]]], now: float) -> None:
        """Put the balancer back to what it was told before, in-flight counts included."""
        for account, weights in reversed(undo):
            backend = account.backend
            left = backend not in self.balancer.weights
            if not weights:
                self.balancer.discard(backend)
            for weight in weights:
                self.balancer.put(backend, weight)
                account.pushed = weight
            for _ in range(account.in_flight if left and weights else 0):
                self.balancer.started(backend, now, True)
            self._reckon(account, account.weight, account.factors)

    def _rebook(self, account: Account[B], weight: float, factors: list[float]) -> None:
        self._book(account, -1)
        account.weight, account.factors = weight, factors
        self._book(account, +1)

    def _weigh_panic(self, now: float) -> None:
        """Begin or end panic where it is due, and push whom that moves."""
        if self._crosses():
            self.panicking = panicking = not self.panicking
            put = self.balancer.put
            for account in self._softened.values():
                effective = account.in_panic if panicking else account.usual
                if effective != account.pushed:
                    put(account.backend, effective)
                    account.pushed = effective
            told = f"{self._open} of {self._open_hard} open"
            self._record(now, "panic", panicking, None, told)
        self.open = self._open_hard if self.panicking else self._open

    def _record(
        self, now: float, reason: str, began: bool, backend: B | None, detail: str = ""
    ) -> None:
        if self._events is not None:
            self._events.append(Event(now, reason, began, backend, detail))


def hooks(parts: Iterable[Any], protocol: Any, name: str) -> list[Callable[..., None]]:
    """Give the method of each part that is more than the protocol's own, which does nothing."""
    methods = [getattr(part, name) for part in parts]
    silent = getattr(protocol, name)
    return [method for method in methods if getattr(method, "__func__", None) is not silent]
