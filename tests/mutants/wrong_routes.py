"""Wrong ways to read a path, to order routes, and to say why a route matches."""

import re
from math import inf
from typing import Any

from balancers.http import targets
from balancers.routing import Route, _conditions, _route_group
from balancers.routing._conditions import Check
from balancers.routing._route_group import RouteGroup
from balancers.routing._route_tree import RouteTree
from tests.mutants.mutant import genuine, mutant

route_rank = genuine(Route, "rank").fget
gateway_rank = genuine(Route, "gateway_rank").fget
GATEWAY = "routing/test_gateway_api.py::"
HOSTILE_TARGET = "hostile/test_targets.py::test_a_hostile_target_is_refused_with_its_reason"
HOSTILE_DOTS = "hostile/test_targets.py::test_no_rule_accepts_a_dot_segment_that_some_servers_miss"
WHY = "hostile/test_routing.py::test_why_contains_no_secret_of_a_client"


@mutant(targets, "has_parameter", f"{HOSTILE_TARGET}[path parameter-/admin%3Bx/users]")
def only_a_plain_semicolon_begins_a_parameter(segment: str) -> bool:
    return ";" in segment


@mutant(targets, "_hides_dots", f"{HOSTILE_DOTS}[/a/a/..%2fb]")
def an_encoded_slash_hides_a_dot_segment(segment: str) -> bool:
    return segment.startswith((".;", "..;", ".%3B", "..%3B"))


@mutant(targets, "_hides_dots", f"{HOSTILE_DOTS}[/a/..;/b]")
def a_dot_segment_with_a_parameter_is_a_name(segment: str) -> bool:
    return bool({".", ".."} & {*re.split("%2F|%5C", segment)})


@mutant(
    targets,
    "_is_ambiguous_parent",
    "http/test_targets.py::test_a_parent_that_servers_split_is_ambiguous",
)
def an_encoded_slash_is_a_part_of_the_parent(segment: str, rules: Any) -> bool:
    return not segment


@mutant(Route, "gateway_rank", f"{GATEWAY}test_all_values_of_the_conformance_tests_agree")
def a_parameter_counts_as_a_header(self: Any) -> Any:
    host, path, methods, others, on_query = gateway_rank(self)
    return host, path, methods, others + on_query, 0


@mutant(Route, "gateway_rank", f"{GATEWAY}test_each_step_of_the_precedence[a longer prefix]")
def the_length_of_a_prefix_does_not_count(self: Any) -> Any:
    host, path, *others = gateway_rank(self)
    return host, path[:1], *others


@mutant(
    Route, "gateway_rank", f"{GATEWAY}test_each_step_of_the_precedence[a cookie counts as a header]"
)
def a_cookie_counts_as_a_parameter(self: Any) -> Any:
    host, path, methods, *_ = gateway_rank(self)
    on_header = sum(check.kind == "header" for check in self.checks)
    return host, path, methods, -on_header, on_header - len(self.checks)


@mutant(Route, "gateway_rank", f"{GATEWAY}test_each_step_of_the_precedence[method before headers]")
def a_method_does_not_count(self: Any) -> Any:
    host, path, _, *others = gateway_rank(self)
    return host, path, inf, *others


@mutant(
    RouteTree,
    "find",
    f"{GATEWAY}test_a_complete_path_with_captures_comes_before_a_longer_prefix",
)
def the_first_leaf_of_the_tree_is_taken(
    self: Any, host: str, segments: Any, path: Any, fields: Any
) -> Any:
    for name in self.hosts(host):
        for leaf in self._hosts[name].leaves(segments):
            if (found := leaf.find(fields)) is not None:
                return found
    return None


@mutant(
    Route,
    "rank",
    "routing/test_patterns.py::test_a_literal_comes_before_a_pattern_and_a_pattern_before_a_capture",
)
def a_pattern_comes_last(self: Any) -> Any:
    host, path, *others = route_rank(self)
    return host, (3,) if self.ending == "pattern" else path, *others


@mutant(
    _route_group,
    "_matches",
    "routing/test_patterns.py::test_a_pattern_matches_a_complete_value_that_is_not_repeated[headers]",
)
def a_pattern_matches_the_start_of_a_value(pattern: Any, value: Any) -> bool:
    if isinstance(value, str):
        return pattern.match(value) is not None
    return bool(value == pattern)


@mutant(RouteGroup, "mismatch", f"{WHY}[arguments0-headers0-]")
def why_shows_the_value_that_was_sent(self: Any, fields: Any) -> str:
    return f"not {[fields.values(kind, name) for kind, name, _ in self.checks]}"


@mutant(Check, "__str__", "hostile/test_routing.py::test_the_route_shows_what_its_author_wrote")
def conditions_show_every_value(self: Any) -> str:
    return f"{self.kind} {self.name} {self.value!r}"


@mutant(_conditions, "is_secret", f"{WHY}[arguments16-headers16-]")
def only_authorization_is_a_secret(kind: str, name: str) -> bool:
    return name == "authorization"


@mutant(
    _conditions,
    "_refuse_decoded_octets",
    "routing/test_patterns.py::test_a_pattern_that_cannot_match_says_what_to_write"
    "[/%40me-write @ instead of %40]",
)
def a_pattern_that_cannot_match_is_accepted(pattern: Any) -> None:
    return None


@mutant(Route, "__delattr__", "routing/test_route.py::test_a_route_is_immutable[value]")
def attributes_of_a_route_can_be_deleted(self: Any, name: str) -> None:
    object.__delattr__(self, name)
