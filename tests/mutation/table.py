"""The tests that are run for each package: the smallest set that may kill its mutants."""

__all__ = ["SIGNATURES", "TESTS"]

SIGNATURES = "tests/test_defaults.py"
"""Tests that read signatures: they reach a changed default without executing a line."""

_SHARED = [
    "tests/bad_input",
    "tests/test_avoid.py",
    "tests/test_contracts.py",
    SIGNATURES,
    "tests/test_known_bugs.py",
    "tests/test_owners.py",
    "tests/test_views.py",
]

TESTS: dict[str, list[str]] = {
    "pool": [
        "tests/pool",
        "tests/gates/test_drain.py",
        "tests/gates/test_limits.py",
        "tests/gates/test_soft_gates.py",
        "tests/gates/test_only_able_member.py",
        "tests/gates/test_restored_by_probes.py",
        "tests/gates/test_paired_events.py",
        "tests/gates/test_gates.py",
        *_SHARED,
        "balancers/pool",
    ],
    "gates": ["tests/gates", *_SHARED, "balancers/gates"],
    "algorithms": ["tests/algorithms", *_SHARED, "balancers/algorithms"],
    "hashing": [
        "tests/hashing",
        "tests/hostile/test_hash_collisions.py",
        *_SHARED,
        "balancers/hashing",
    ],
    "loads": ["tests/loads", *_SHARED, "balancers/loads"],
    "sessions": [
        "tests/sessions",
        "tests/hostile/test_session_tables.py",
        "tests/hostile/test_tokens.py",
        *_SHARED,
        "balancers/sessions",
    ],
}
"""Files and folders of tests, and folders of doctests, by package."""
