"""A real keepalived in a network namespace, and the router of the examples in another one."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.system.lab import EXAMPLES, Node, wait_until

VRID = 51
ADDRESSES = {4: ["10.77.0.100/24"], 6: ["fe80::77/64", "fd77::100/64"]}
LIMIT = 30.0  # seconds for steps that take one or two


def hosts(version: int) -> set[str]:
    return {address.partition("/")[0] for address in ADDRESSES[version]}


class Router:
    """A program that runs virtual routers for IPv4 and IPv6 on a node."""

    def __init__(self, node: Node, folder: Path, priority: int, interval: float) -> None:
        self.node, self.folder = node, folder
        self.priority, self.interval = priority, interval
        self.log = folder / f"{node.name}.log"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self.node.start(*self.command(), log=self.log)

    def kill(self) -> None:
        """Kill all processes at once, so that none can say goodbye, and reap them."""
        self.node.kill()

    def resign(self) -> None:
        """Let the program end as it does at a shutdown."""
        (process,) = self.node.processes
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT)
        self.node.kill()

    def freeze(self) -> None:
        self.node.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.node.signal(signal.SIGCONT)

    def has(self, version: int) -> bool:
        """Return whether the node has all virtual addresses of a family."""
        return hosts(version) <= self.node.addresses()

    def lacks(self, version: int) -> bool:
        """Return whether the node has no virtual address of a family."""
        return not hosts(version) & self.node.addresses()


class Keepalived(Router):
    def command(self) -> list[str]:
        config = self.folder / f"{self.node.name}.conf"
        config.write_text("".join(self.instance(version) for version in ADDRESSES))
        files = [self.folder / f"{self.node.name}.{name}" for name in ("pid", "vrrp")]
        for file in files:  # its child is a zombie for a while after it was killed
            file.unlink(missing_ok=True)
        names = [f"--use-file={config}", f"--pid={files[0]}", f"--vrrp_pid={files[1]}"]
        return ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", *names]

    def instance(self, version: int) -> str:
        lines = "\n".join(f"    {address}" for address in ADDRESSES[version])
        return f"""vrrp_instance V{version} {{
  state BACKUP
  interface eth0
  version 3
  virtual_router_id {VRID}
  priority {self.priority}
  advert_int {self.interval}
  virtual_ipaddress {{
{lines}
  }}
}}
"""


class Ours(Router):
    """The router of the examples."""

    options: Sequence[str] = ()

    def command(self) -> list[str]:
        script = [sys.executable, str(EXAMPLES / "vrrp_router.py"), "--interface=eth0"]
        addresses = [f"--address={each}" for version in ADDRESSES for each in ADDRESSES[version]]
        settings = [f"--priority={self.priority}", f"--interval={self.interval}"]
        return [*script, f"--vrid={VRID}", *settings, *addresses, *self.options]

    def changes(self, version: int, since: float = 0.0) -> list[dict[str, Any]]:
        """Return the changes of the state of a virtual router."""
        text = self.log.read_text() if self.log.exists() else ""
        lines = [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]
        return [x for x in lines if x["version"] == version and x["at"] > since]

    def wait(self, version: int, state: str, since: float) -> dict[str, Any]:
        """Wait for the first change to a state since then, and return it."""

        def found() -> list[dict[str, Any]]:
            return [x for x in self.changes(version, since) if x["state"] == state]

        wait_until(found, LIMIT, f"{state} in IPv{version}")
        return found()[0]
