"""Measures how well each law sees the wrong balancers, gates and loads that are named for it.

``python -m tests.laws.shares`` prints a row for each of them, and for the mutants of the package
that a law can see: the law, and the share of single examples that break it.  A check of 1000
examples must miss with a probability of at most 2·10⁻⁹, which is a share of 2 % for most laws.  A
law that tests everything in one run needs no share ("once").  The exit status is 1 if a share is
too low, or if a law has no wrong subject.  Names given as arguments choose rows.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import process_time
from typing import Any
from unittest.mock import patch

from balancers.testing import balancer_checks, gate_checks, load_checks
from balancers.testing._watchdog import Stuck, watching
from balancers.testing.laws import BALANCER_LAWS, GATE_LAWS, LOAD_LAWS
from tests.kinds import GATES, KINDS
from tests.laws import wrong_balancers, wrong_gates, wrong_keyed, wrong_loads
from tests.laws.wrong import WRONG_BALANCERS, WRONG_GATES, WRONG_LOADS, Wrong
from tests.mutants.mutant import MUTANTS, Mutant
from tests.mutants.test_mutants import MODULES as MUTANT_MODULES

__all__ = [
    "MISS",
    "Row",
    "laws_without_a_wrong_subject",
    "main",
    "measured",
    "needed_share",
    "rows",
]

MODULES = (wrong_balancers, wrong_keyed, wrong_gates, wrong_loads, *MUTANT_MODULES)
"""Each of them fills a register when it is imported."""
MISS = 2e-9
"""The highest probability with which a check of 1000 examples may miss a wrong one."""
_EXAMPLES, _ENOUGH, _SECONDS, _STUCK = 1000, 40, 20.0, 20.0
MUTANT_LAWS = {
    "turns_come_in_blocks": ("never_over_by_more_than_one", "WeightedRoundRobin"),
    "a_change_of_weight_is_ignored": ("last_put_wins", "WeightedRoundRobin"),
    "the_first_in_the_list_wins_ties": ("ties_spread", "LeastConnections"),
    "random_choice_ignores_weights": ("shares_follow_weights", "RandomChoice"),
    "samples_are_not_discarded_after_a_change": ("last_put_wins", "RandomChoice"),
    "a_missing_key_is_accepted": ("is_a_balancer", "HashRing"),
    "a_ring_uses_modulo": ("only_the_keys_of_the_changed_move", "HashRing"),
    "points_depend_on_the_order_of_the_list": ("the_map_is_a_function_of_the_set", "HashRing"),
    "the_search_for_an_open_backend_ends_early": ("picks_only_eligible_backends", "HashRing"),
    "a_reader_may_go_back_in_time": ("time_never_goes_back", "CoolDown"),
    "time_may_go_backwards": ("time_never_goes_back", "SlowStart"),
    "a_ramp_announces_its_first_step_only": ("factors_move_only_as_announced", "SlowStart"),
    "a_backend_at_its_limit_stays_closed": ("changes_names_every_change", "ConnectionLimit"),
    "a_cancelled_request_counts_as_a_failure": ("unknown_outcomes_change_nothing", "HealthChecks"),
}
"""The law that sees a mutant of the package, and the kind of the registry to run it over."""


@dataclass(frozen=True)
class Row:
    """One wrong subject: its law, what runs it, and what puts it in place."""

    name: str
    law: str
    suite: Callable[[], Any]
    in_place: Callable[[], AbstractContextManager[Any]] = nullcontext


def _balancer(wrong: Wrong) -> Any:
    members = wrong.max_members or 64
    rest = (wrong.keys, wrong.weights, members, wrong.bound)
    return balancer_checks._suite(wrong.make, wrong.traits, [wrong.law], None, _EXAMPLES, 0, *rest)


def _gate(wrong: Wrong) -> Any:
    return gate_checks._suite(wrong.make, [wrong.law], None, _EXAMPLES, 0, wrong.events)


def _load(wrong: Wrong) -> Any:
    return load_checks._suite(wrong.make, [wrong.law], None, _EXAMPLES, 0)


def _mutant(mutant: Mutant) -> Row:
    law, subject = MUTANT_LAWS[mutant.name]

    def suite() -> Any:
        for kind in KINDS:
            if kind.name == subject:
                options = kind.check_arguments
                options.pop("excuses")
                return _balancer(Wrong(kind.make, law, **options))
        gate = next(gate for gate in GATES if gate.name.startswith(subject))
        return _gate(Wrong(gate.make, law, events=gate.events or None))

    def in_place() -> AbstractContextManager[Any]:
        return patch.object(mutant.owner, mutant.attribute, mutant.replacing)

    return Row(mutant.name, law, suite, in_place)


def rows() -> Iterator[Row]:
    """Yield a row for each wrong subject."""
    registers = ((WRONG_BALANCERS, _balancer), (WRONG_GATES, _gate), (WRONG_LOADS, _load))
    for register, suite in registers:
        for wrong in register:
            yield Row(wrong.name, wrong.law, lambda suite=suite, wrong=wrong: suite(wrong))  # type: ignore[misc]  # the defaults bind the variables of the loop
    for mutant in MUTANTS:
        if mutant.name in MUTANT_LAWS:
            yield _mutant(mutant)


def laws_without_a_wrong_subject() -> list[str]:
    """Return the names of the laws that no wrong subject is named for."""
    registers = (
        (BALANCER_LAWS, WRONG_BALANCERS),
        (GATE_LAWS, WRONG_GATES),
        (LOAD_LAWS, WRONG_LOADS),
    )
    return [
        law.name
        for laws, register in registers
        for law in laws
        if law.name not in {wrong.law for wrong in register}
    ]


def needed_share(law: Any) -> float:
    """Return the share of catching examples with which a check of 1000 examples misses none."""
    return float(1 - MISS ** (1 / max(1, round(1000 * law.share))))


def measured(row: Row) -> tuple[str, bool]:
    """Return the share in words, and whether it is high enough."""
    with row.in_place(), watching(_STUCK) as watchdog:
        suite = row.suite()
        runner, law = suite._runner, suite._laws[0]
        found = examples = 0
        began = process_time()
        while examples < (1 if law.once else _EXAMPLES) and found < _ENOUGH:
            watchdog.example_began()
            try:
                found += runner.breaks(law, runner.choices(law, examples))
            except Stuck:
                found += 1
            examples += 1
            if process_time() - began > _SECONDS:
                break
    if law.once:
        return "once", found == 1
    return f"{found / examples:.1%} of {examples}", found / examples >= needed_share(law)


def main(chosen: list[str]) -> int:
    """Print the table, and return the exit status."""
    misses = 0
    for row in rows():
        if chosen and not {row.name, row.law} & {*chosen}:
            continue
        share, is_enough = measured(row)
        misses += not is_enough
        line = f"{row.name:42} {row.law:40} {share:>15}{'' if is_enough else '  TOO FEW'}"
        print(line, flush=True)  # noqa: T201 - a table is printed
    without = laws_without_a_wrong_subject()
    line = (
        f"{misses} shares are too low; laws without a wrong subject: {', '.join(without) or 'none'}"
    )
    print(line)  # noqa: T201 - a table is printed
    return int(misses > 0 or bool(without))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
