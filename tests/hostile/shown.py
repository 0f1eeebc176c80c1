"""Short names of hostile values, for the ids of tests."""

import re

__all__ = ["shown"]


def shown(value: object) -> str:
    """Return at most 30 characters of the repr, without memory addresses.

    The names of tests must be the same in every process.
    """
    if isinstance(value, int) and value.bit_length() > 200:
        return f"int of {value.bit_length()} bits"
    return re.sub(" at 0x[0-9a-f]+", "", ascii(value))[:30]
