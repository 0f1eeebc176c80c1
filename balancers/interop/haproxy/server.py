"""A ``server`` line of the configuration."""

import re
from dataclasses import dataclass

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting
from balancers.interop.flags import check_flags

__all__ = ["MAX_WEIGHT", "Server"]

MAX_WEIGHT = 256
_MAX_ID = (1 << 31) - 1
_NAME = re.compile(r"[A-Za-z0-9_:.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Server:
    """One ``server`` line: its name, and its parameters with HAProxy's defaults.

    The points of a ring are computed from ``id``; servers without one are numbered from 1.  No pick
    depends on the name.  A server is full with ``maxconn`` requests in flight; 0 sets no limit.  A
    ``backup`` serves when no other server is up.

    >>> Server("s1", weight=100, maxconn=50).id

    Raises InvalidSetting for the values that HAProxy refuses: a name with characters other than
    letters, digits and ``_:.-``, a weight above 256, an id of 0.  Raises TypeError for a name that
    is no str.
    """

    name: str
    weight: int = 1
    id: int | None = None
    maxconn: int = 0
    backup: bool = False
    disabled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, as in the configuration, not {self.name!r}")
        if not _NAME.fullmatch(self.name):
            raise InvalidSetting(f"name must be letters, digits and _:.- only, not {self.name!r}")
        at_least(0, weight=self.weight, maxconn=self.maxconn)
        if self.weight > MAX_WEIGHT:
            raise InvalidSetting(f"weight must be {MAX_WEIGHT} or less, not {self.weight!r}")
        if self.id is not None:
            at_least(1, id=self.id)
            if self.id > _MAX_ID:
                raise InvalidSetting(f"id must be {_MAX_ID} or less, not {self.id!r}")
        check_flags(backup=self.backup, disabled=self.disabled)
