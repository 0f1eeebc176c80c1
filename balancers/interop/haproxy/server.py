"""A ``server`` line."""

import re
from dataclasses import dataclass

from balancers._internal.checks import at_least
from balancers.errors import InvalidSetting

__all__ = ["HEAVIEST", "Server"]

HEAVIEST = 256
_HIGHEST_ID = (1 << 31) - 1
_NAME = re.compile(r"[A-Za-z0-9_:.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Server:
    """One ``server`` line: its name, and its parameters with HAProxy's defaults.

    ``id`` is what a ring is made of; without one, servers are counted from 1.  Nothing depends on
    the name.  ``maxconn`` requests in flight fill a server, 0 sets no limit.  A ``backup`` serves
    when no other server is up.

    >>> Server("s1", weight=100, maxconn=50).id

    Raises InvalidSetting for what HAProxy refuses too: other characters than letters, digits and
    ``_:.-`` in the name, a weight above 256, an id of 0.
    """

    name: str
    weight: int = 1
    id: int | None = None
    maxconn: int = 0
    backup: bool = False
    disabled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"a server is its name in the configuration, not {self.name!r}")
        if not _NAME.fullmatch(self.name):
            raise InvalidSetting(f"no name of a server: {self.name!r}")
        at_least(0, weight=self.weight, maxconn=self.maxconn)
        if self.weight > HEAVIEST:
            raise InvalidSetting(f"weight must be {HEAVIEST} or less, not {self.weight!r}")
        if self.id is not None:
            at_least(1, id=self.id)
            if self.id > _HIGHEST_ID:
                raise InvalidSetting(f"id must be {_HIGHEST_ID} or less, not {self.id!r}")
        for name in ("backup", "disabled"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidSetting(f"{name} must be a bool, not {getattr(self, name)!r}")
