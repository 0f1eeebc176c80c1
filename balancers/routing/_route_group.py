"""Indexes routes with the same host and path by the names and values of their conditions."""

import re
from collections.abc import Iterator
from typing import Any

from balancers._internal.grammar import TOKEN
from balancers.http.fields import Kind, RequestFields, Wanted
from balancers.routing._conditions import Check, is_secret
from balancers.routing.route import Route

__all__ = ["Leaf", "RouteGroup"]

_INDEXED = ""
"""Stands for the value of a condition that is a part of the index."""


class RouteGroup:
    """Finds the first matching route among routes whose conditions have the same names.

    All routes of a group have the same host and path, and the same regular expressions.  They are
    indexed by the method and by the values that their conditions require.  The method None stands
    for any method.
    """

    def __init__(self, route: Route[Any]) -> None:
        self.checks: list[Check] = [_form(check) for check in route.checks]
        self.methods: set[str | None] = set()
        self.positions: dict[tuple[Wanted, ...], int] = {}

    def add(self, position: int, route: Route[Any]) -> None:
        """Add a route that comes after all routes of the group.

        If an earlier route has equal conditions, the new route is ignored.
        """
        values = [check.value for check in route.checks if isinstance(check.value, str)]
        for method in route.methods or (None,):
            self.methods.add(method)
            self.positions.setdefault((method, *values), position)

    def find(self, fields: RequestFields) -> int | None:
        """Return the position of the first route that matches, or None; O(conditions).

        A route that lists the method comes before a route that accepts any method.
        """
        values_sent: list[Wanted] = []
        for kind, name, wanted in self.checks:
            values = fields.values(kind, name)
            if not values or (wanted is not None and len(values) > 1):
                return None
            if isinstance(wanted, str):
                values_sent.append(values[0])
            elif wanted is not None and not _matches(wanted, values[0]):
                return None
        named = self.positions.get((fields.method, *values_sent))
        return self.positions.get((None, *values_sent)) if named is None else named

    def accepts_method(self, method: str) -> bool:
        """Return whether at least one route of this group accepts this method."""
        return method in self.methods or None in self.methods

    def mismatch(self, fields: RequestFields) -> str:
        """Return a description of the first condition that fails.

        Call it only for a request that matches no route of this group.
        """
        if not self.accepts_method(fields.method):
            return f"method is not {' or '.join(self.named_methods)} but {_shown(fields.method)}"
        values_sent: list[str] = []
        for check in self.checks:
            kind, name, wanted = check
            values = fields.values(kind, name)
            if not values:
                return f"{check.subject} is absent"
            if wanted is not None and len(values) > 1:
                return f"{check.subject} is repeated"
            if isinstance(wanted, re.Pattern) and not _matches(wanted, values[0]):
                return f"{check.subject} does not match the pattern"
            if isinstance(wanted, str):
                sent = "with this value" if is_secret(kind, name) else repr(values[0])
                values_sent.append(f"{check.subject} {sent}")
        return f"no route for {_shown(fields.method)} asks for {', '.join(values_sent)}"

    @property
    def named_methods(self) -> list[str]:
        """The methods that are listed by at least one route of this group, in sorted order."""
        return sorted(method for method in self.methods if method is not None)


def _form(check: Check) -> Check:
    """Return the condition without its value, if this value is a part of the index of a group."""
    return check._replace(value=_INDEXED) if isinstance(check.value, str) else check


def _matches(pattern: Wanted, value: Wanted) -> bool:
    """Return whether a value matches a pattern.  In a sample, a pattern matches itself."""
    if isinstance(pattern, re.Pattern) and isinstance(value, str):
        return pattern.fullmatch(value) is not None
    return value == pattern


def _shown(method: str) -> str:
    """Return the method for a description, in quotes unless it is a valid method."""
    return method if TOKEN.fullmatch(method) else repr(method)


class Leaf:
    """Finds the first matching route among routes with the same host and path."""

    def __init__(self, first: int) -> None:
        self.first = first
        """The position of the first route."""
        self.groups: dict[tuple[Check, ...], RouteGroup] = {}
        self.first_by_method: dict[str | None, tuple[int, RouteGroup]] = {}
        """The position and the group of the first route for each method.  The method None stands
        for any method."""
        self._unconditional: list[RouteGroup] = []
        # a group with conditions is listed under only one of its condition names: the name that
        # had the fewest groups when the group was added
        self._by_name: dict[Kind, dict[str, list[RouteGroup]]] = {}

    def add(self, position: int, route: Route[Any]) -> None:
        """Add a route that comes after all routes of the leaf; O(conditions)."""
        forms = tuple(_form(check) for check in route.checks)
        group = self.groups.get(forms)
        if group is None:
            group = self.groups[forms] = RouteGroup(route)
            candidates = [
                self._by_name.setdefault(check.kind, {}).setdefault(check.name, [])
                for check in route.checks
            ]
            min(candidates, key=len, default=self._unconditional).append(group)
        group.add(position, route)
        for method in route.methods or (None,):
            self.first_by_method.setdefault(method, (position, group))

    def find(self, fields: RequestFields) -> int | None:
        """Return the position of the first route that matches, or None.

        O(groups that are listed under a name that the request contains).
        """
        best: int | None = None
        for group in self._candidates(fields):
            found = group.find(fields)
            if found is not None and (best is None or found < best):
                best = found
        return best

    def nearest(self, method: str) -> tuple[int, RouteGroup] | None:
        """Return the position and the group of the first route that accepts a method, or None."""
        return self.first_by_method.get(method) or self.first_by_method.get(None)

    def _candidates(self, fields: RequestFields) -> Iterator[RouteGroup]:
        yield from self._unconditional
        for kind, groups in self._by_name.items():
            for name in groups.keys() & fields.by_name(kind).keys():
                yield from groups[name]
