"""Replay what name servers answered to a client subnet option, mostly to a malformed one.

gdnsd refuses what RFC 7871 forbids, and so does ours: the code of the answer is compared, and the
network that the answer repeats.  PowerDNS answers malformed options as if they were correct or
absent, which is not copied; only its correct options are compared.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from balancers.errors import MalformedClientSubnet
from balancers.gslb import ClientSubnet
from tests.parity.recordings import Tally

__all__ = ["replay"]

_ECHO = re.compile(r"ECS (\S+)/(\d+) scope/(\d+)")


def replay(recording: Mapping[str, Any]) -> Iterable[Tally]:
    """Return one tally per server."""
    tallies: dict[str, Tally] = {}
    for case in recording["cases"]:
        server = str(case["server"])
        if server not in {"gdnsd", "pdns"}:
            raise LookupError(f"no such server: {server!r}")
        tally = tallies.setdefault(server, Tally(f"{server} client subnet option"))
        name = str(case["case"])
        try:
            subnet = ClientSubnet.parse(bytes.fromhex(case["option_hex"]))
        except MalformedClientSubnet:
            if server == "gdnsd":
                tally.check(name, (case["rcode"], case["ecs"]), ("FORMERR", list[str]()))
            else:
                tally.leave(name, "PowerDNS answers a malformed option, which RFC 7871 forbids")
            continue
        scope = _announced(case["ecs"], subnet)
        echo = "no option" if scope is None else _text(subnet.answer(scope))
        tally.check(name, (case["rcode"], case["ecs"]), ("NOERROR", [echo]))
    note = "the answers and scopes depend on a configuration that this file does not hold"
    for tally in tallies.values():
        tally.notes.append(note)
    return tallies.values()


def _announced(recorded: list[str], subnet: ClientSubnet) -> int | None:
    """Return the scope of a recorded option, which is taken over; None if it is not one."""
    found = _ECHO.fullmatch(recorded[0]) if len(recorded) == 1 else None
    scope = int(found[3]) if found else None
    return scope if scope is not None and scope <= subnet.address.max_prefixlen else None


def _text(subnet: ClientSubnet) -> str:
    network = ip_network((ip_address(subnet.address), subnet.source))
    return f"ECS {network} scope/{subnet.scope}"
