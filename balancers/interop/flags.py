"""Checks settings that must be bools."""

from balancers.errors import InvalidSetting

__all__ = ["check_flags"]


def check_flags(**flags: bool) -> None:
    """Check that every setting is a bool.  Raises InvalidSetting if one is not.

    >>> check_flags(backup=1)
    Traceback (most recent call last):
    balancers.errors.InvalidSetting: backup must be a bool, not 1
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InvalidSetting(f"{name} must be a bool, not {value!r}")
