"""A lab of network namespaces: nodes on one bridge, for programs that need addresses of their own.

    with Lab() as lab:
        node = lab.node("a")
        process = node.start("python", "-m", "http.server", log=path)

The namespaces have no names: they exist as long as this process holds them open.  Each program that
a node starts is killed by the kernel when this process ends.  So nothing is left, even when this
process is killed, and several labs may run at once.

Linux only, as root, with iproute2, nftables and util-linux.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
PROGRAMS = ("ip", "nft", "nsenter", "setpriv")
LIMIT = 60.0  # seconds for a command that takes milliseconds
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
Popen = subprocess.Popen[bytes]


def missing(*programs: str) -> str:
    """Return why network namespaces cannot be used here; empty if they can."""
    absent = [name for name in (*PROGRAMS, *programs) if not shutil.which(name, path=SYSTEM_PATH)]
    if absent:
        return f"network namespaces need {', '.join(absent)}"
    try:
        os.close(new_namespace())
    except OSError as error:
        return f"network namespaces need root: {error}"
    return ""


def call(name: str, *arguments: int) -> None:
    """Call a function of the C library that returns 0.  Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def open_own() -> int:
    """Open the network namespace of this thread."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def returning() -> Generator[None]:
    """Return this thread to its namespace at the end of the block."""
    before = open_own()
    try:
        yield
    finally:
        call("setns", before, NEW_NETWORK)
        os.close(before)


def new_namespace() -> int:
    """Create a network namespace; it exists while it is open or used."""
    with returning():
        call("unshare", NEW_NETWORK)
        return open_own()


class Node:
    """A network namespace with the interface ``eth0``, which is connected to the bridge.

    ``address4`` and ``address6`` are its addresses, ``link_local`` is its IPv6 link-local address.
    """

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.mac = f"02:00:00:00:00:{number:02x}"
        self.address4 = f"10.77.0.{number}"
        self.address6 = f"fd77::{number:x}"
        self.link_local = f"fe80::ff:fe00:{number:x}"
        self.file = new_namespace()
        self.processes: list[Popen] = []
        self.run("ip", "link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """The path by which programs open this namespace."""
        return f"/proc/{os.getpid()}/fd/{self.file}"

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs a command inside."""
        return ["nsenter", f"--net={self.path}", "setpriv", "--pdeathsig", "KILL", *command]

    def run(self, *command: str, text: str = "") -> str:
        """Run a command inside to its end; return its output.  Raises CalledProcessError."""
        done = subprocess.run(
            self.inside(*command),
            input=text,
            capture_output=True,
            check=False,
            text=True,
            timeout=LIMIT,
            env=os.environ | {"PATH": SYSTEM_PATH},
        )
        if done.returncode:
            raise OSError(f"{self.name}: {' '.join(command)}: {done.stderr}{done.stdout}")
        return done.stdout

    def start(self, *command: str, log: Path, errors: Path | None = None) -> Popen:
        """Start a program inside, as a process group of its own, which ``kill`` ends."""
        with contextlib.ExitStack() as files:
            output = files.enter_context(log.open("ab"))
            process = subprocess.Popen(
                self.inside(*command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=files.enter_context(errors.open("ab")) if errors else subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PATH": SYSTEM_PATH},
            )
        self.processes.append(process)
        return process

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all programs, and to those that they have started."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, number)

    def kill(self) -> None:
        """Kill all programs at once, and reap them."""
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(LIMIT)
        self.processes.clear()

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Create a socket inside; it stays there, also for other threads."""
        with returning():
            call("setns", self.file, NEW_NETWORK)
            return socket.socket(family, kind, protocol)

    def addresses(self) -> set[str]:
        """Return the addresses of the interface, without their prefix lengths."""
        lines = self.run("ip", "-oneline", "address", "show", "dev", "eth0").splitlines()
        return {line.split()[3].partition("/")[0] for line in lines}

    def lose(self, *rules: str) -> None:
        """Drop the packets of VRRP that match a rule of nftables, or all, in both directions.

        For example, ``numgen random mod 100 < 30`` drops 30 % of them.
        """
        drops = "".join(f"meta l4proto 112 {rule} drop\n" for rule in rules or ("",))
        chains = "".join(
            f"chain {hook} {{\ntype filter hook {hook} priority 0;\n{drops}}}\n"
            for hook in ("input", "output")
        )
        self.run("nft", "-f", "-", text=f"table inet lab {{\n{chains}}}\n")

    def lose_nothing(self) -> None:
        self.run("nft", "delete", "table", "inet", "lab")

    def close(self) -> None:
        self.kill()
        os.close(self.file)


class Lab:
    """Nodes on one bridge; the bridge itself is a node, whose interface ``eth0`` is the bridge."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        self.bridge = Node("bridge", 254)
        self.nodes.append(self.bridge)
        self.bridge.run(
            "ip", "link", "add", "eth0", "address", self.bridge.mac, "up",
            "type", "bridge", "mcast_snooping", "0", "forward_delay", "0",
        )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            node.close()
        self.nodes.clear()

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def node(self, name: str) -> Node:
        """Add a node to the bridge; its addresses end in 1, 2, 3 and so on."""
        node = Node(name, len(self.nodes))
        self.nodes.append(node)
        self.bridge.run(
            "ip", "-batch", "-",
            text=f"link add p{node.number} up type veth peer name eth0 netns {node.path}\n"
            f"link set p{node.number} master eth0\n",
        )  # fmt: skip
        node.run(
            "ip", "-batch", "-",
            text=f"link set eth0 address {node.mac} addrgenmode none up\n"
            f"address add {node.address4}/24 dev eth0\n"
            f"address add {node.address6}/64 dev eth0 nodad\n"
            f"address add {node.link_local}/64 dev eth0 nodad\n",
        )  # fmt: skip
        return node

    def link(self, node: Node, up: bool) -> None:
        """Plug or unplug the cable of a node: its interface gains or loses the carrier."""
        self.bridge.run("ip", "link", "set", f"p{node.number}", "up" if up else "down")
