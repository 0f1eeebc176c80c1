"""Describes a ``server`` line of the configuration of HAProxy."""

import re
from dataclasses import dataclass
from typing import Any

from balancers._internal.checks import at_least, check_flags, shown
from balancers.errors import InvalidSetting

__all__ = ["MAX_WEIGHT", "Server"]

MAX_WEIGHT = 256
_MAX_ID = (1 << 31) - 1
_NAME = re.compile(r"[A-Za-z0-9_:.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Server:
    """Describes one ``server`` line of the configuration.

    The parameters have the defaults of HAProxy.  The positions of a server on a hash ring are
    computed from its ``id``.  The balancer numbers the servers without an ``id`` from 1.  The name
    does not influence the picks.  A server is full if it has ``maxconn`` requests in flight.  If
    ``maxconn`` is 0, there is no limit.  A ``backup`` is picked only if all servers that are not
    backups are down.  A ``disabled`` server is down when it is added.

    >>> Server("s1", weight=100, maxconn=50).id

    Raises InvalidSetting for the values that HAProxy refuses.  Examples are a weight above 256, an
    id of 0, and a name with characters other than letters, digits and ``_:.-``.  Raises TypeError
    for a name that is not a str.
    """

    name: str
    weight: int = 1
    id: int | None = None
    maxconn: int = 0
    backup: bool = False
    disabled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, as in the configuration, not {shown(self.name)}")
        if not _NAME.fullmatch(self.name):
            raise InvalidSetting(
                f"name must be letters, digits and _:.- only, not {shown(self.name)}"
            )
        at_least(0, weight=self.weight, maxconn=self.maxconn)
        if self.weight > MAX_WEIGHT:
            raise InvalidSetting(f"weight must be {MAX_WEIGHT} or less, not {shown(self.weight)}")
        if self.id is not None:
            at_least(1, id=self.id)
            if self.id > _MAX_ID:
                raise InvalidSetting(f"id must be {_MAX_ID} or less, not {shown(self.id)}")
        check_flags(backup=self.backup, disabled=self.disabled)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Server":
        return self  # it never changes
