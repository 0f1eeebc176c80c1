"""A headless chromium, driven through its DevTools protocol."""

import contextlib
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.system.http_processes import LIMIT, wait_until
from tests.system.programs import program

OPTIONS = (
    "--headless",
    "--no-sandbox",  # it only opens pages of these tests, and may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """One page."""

    def __init__(self, devtools: ClientConnection) -> None:
        self.devtools = devtools
        self.calls = 0
        self.loads = 0
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a DevTools method; return its result."""
        self.calls += 1
        call = {"id": self.calls, "method": method, "params": parameters}
        self.devtools.send(json.dumps(call))
        while (message := self.receive()).get("id") != self.calls:
            pass
        assert "error" not in message, message
        return message["result"]

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.devtools.recv(LIMIT))
        self.loads += message.get("method") == "Page.loadEventFired"
        return message

    def open(self, url: str) -> str:
        """Open a page; return its text."""
        return self.load("Page.navigate", url=url)

    def reload(self) -> str:
        """Load the page again without the cache; return its text."""
        return self.load("Page.reload", ignoreCache=True)

    def load(self, method: str, **parameters: Any) -> str:
        loads = self.loads
        self.call(method, **parameters)
        while self.loads == loads:
            self.receive()
        return str(self.run("document.body.innerText"))

    def run(self, script: str) -> Any:
        """Evaluate a script in the page; return its value, or that of its promise."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def cookies(self) -> dict[str, dict[str, Any]]:
        return {cookie["name"]: cookie for cookie in self.call("Network.getCookies")["cookies"]}


@contextlib.contextmanager
def chromium(folder: Path) -> Generator[Browser]:
    """Start a browser with an empty profile."""
    profile = folder / "profile"
    command = [program("chromium", "chromium"), *OPTIONS]
    command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with (folder / "chromium").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        port = profile / "DevToolsActivePort"
        wait_until(lambda: port.exists() and port.read_text().strip(), "chromium listens")
        where = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        with urllib.request.urlopen(where, timeout=LIMIT) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], proxy=None, max_size=None) as devtools:
            yield Browser(devtools)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and its children
        process.wait(LIMIT)
