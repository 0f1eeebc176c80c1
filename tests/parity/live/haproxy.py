"""HAProxy, with one ``frontend`` and one ``backend`` section per case."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.parity.live.backends import Address
from tests.parity.live.client import Answer, Wire
from tests.parity.live.haproxy_cases import ABSOLUTE_PREFIX, random_case
from tests.parity.live.program import Case, Front, executable

__all__ = ["HAProxy"]


class HAProxy:
    """One thread; the runtime API changes servers during a case."""

    name = "haproxy"
    matched = "2.6.12"
    package = "haproxy (Debian)"

    def generate(self, rng: Random) -> Case:
        """Generate a section and its requests."""
        return random_case(rng)

    def servers(self, case: Case) -> tuple[list[Address], list[Address]]:
        """Return the addresses of the servers; every one listens."""
        return [("127.0.0.1", server["port"]) for server in case["config"]["servers"]], []

    def unhealthy(self, case: Case) -> list[str]:
        """Return no names: there are no health checks."""
        return []

    def command(self, fronts: Sequence[Front], folder: Path) -> list[str]:
        """Write a frontend and a backend per case, and return the command."""
        sites = "".join(_site(place, case, address) for place, (case, address) in enumerate(fronts))
        path = folder / "haproxy.cfg"
        path.write_text(
            f"""global
    nbthread 1
    stats socket {folder}/admin level admin
defaults
    mode http
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    timeout queue 20s
{sites}"""
        )
        return [executable("haproxy") or "haproxy", "-db", "-f", str(path)]

    async def ready(self, fronts: Sequence[Front], folder: Path) -> bool:
        """Return True: listening is enough."""
        return True

    async def change(self, place: int, command: str, folder: Path) -> None:
        """Send a command to the runtime API."""
        what, name, *rest = command.split()
        verb = "set weight" if what == "weight" else f"{what} server"
        reader, writer = await asyncio.open_unix_connection(str(folder / "admin"))
        writer.write(" ".join([verb, f"b{place}/{name}", *rest]).encode() + b"\n")
        answer = await reader.read()
        writer.close()
        if answer.strip():
            raise ValueError(f"{command}: {answer.decode().strip()}")

    def wire(self, case: Case, key: Any) -> Wire:
        """Put a key into the part of the request that the section hashes."""
        match case["kind"]:
            case "source":
                return Wire(client=key)
            case "uri" if key.startswith(ABSOLUTE_PREFIX):
                return Wire(target=key, host=ABSOLUTE_PREFIX.removeprefix("http://"))
            case "uri":
                return Wire(target=key)
            case "host":
                return Wire(host=key)
            case _:
                pass
        lines: list[str] = [] if key is None else [key] if isinstance(key, str) else key
        return Wire(headers=[("X-Key", line) for line in lines])

    def pick(self, case: Case, server: str | None) -> str | None:
        """Return the name of the picked server."""
        if server is None:
            return None
        names = {each["port"]: each["name"] for each in case["config"]["servers"]}
        return str(names[int(server.rpartition(":")[2])])

    def tried(self, case: Case, answer: Answer) -> list[int] | None:
        """Return None: this program does not report it."""
        return None


def _site(place: int, case: Case, address: Address) -> str:
    config = case["config"]
    proxied = " accept-proxy" if case["kind"] == "source" else ""
    lines = [f"balance {config['balance']}", *config.get("directives", [])]
    if config["hash_type"]:
        lines.append(f"hash-type {config['hash_type']}")
    lines += [_line(server) for server in config["servers"]]
    section = "".join(f"    {line}\n" for line in lines)
    return f"""frontend f{place}
    bind {address[0]}:{address[1]}{proxied}
    default_backend b{place}
backend b{place}
{section}"""


def _line(server: dict[str, Any]) -> str:
    parameters = [
        f"{name} {server[name]}" for name in ("weight", "id", "maxconn") if name in server
    ]
    parameters += [name for name in ("disabled", "backup") if server.get(name)]
    return f"server {server['name']} 127.0.0.1:{server['port']} {' '.join(parameters)}"
