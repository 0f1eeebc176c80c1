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

from tests.system.http_processes import PATIENCE, until
from tests.system.programs import program

QUIETLY = (
    "--headless",
    "--no-sandbox",  # it meets the pages of these tests alone, and may run as root
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
        """Have it do something, and give the result."""
        self.calls += 1
        call = {"id": self.calls, "method": method, "params": parameters}
        self.devtools.send(json.dumps(call))
        while (told := self.hear()).get("id") != self.calls:
            pass
        assert "error" not in told, told
        return told["result"]

    def hear(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.devtools.recv(PATIENCE))
        self.loads += told.get("method") == "Page.loadEventFired"
        return told

    def open(self, url: str) -> str:
        """Go there, and give the text of the page."""
        return self.load("Page.navigate", url=url)

    def reload(self) -> str:
        """Load the page again, past its cache, and give its text."""
        return self.load("Page.reload", ignoreCache=True)

    def load(self, method: str, **parameters: Any) -> str:
        loads = self.loads
        self.call(method, **parameters)
        while self.loads == loads:
            self.hear()
        return str(self.run("document.body.innerText"))

    def run(self, script: str) -> Any:
        """Run a script in the page, and give what it comes to, or its promise."""
        told = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def cookies(self) -> dict[str, dict[str, Any]]:
        return {cookie["name"]: cookie for cookie in self.call("Network.getCookies")["cookies"]}


@contextlib.contextmanager
def chromium(folder: Path) -> Generator[Browser]:
    """Give a browser that has never been anywhere."""
    profile = folder / "profile"
    command = [program("chromium", "chromium"), *QUIETLY]
    command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with (folder / "chromium").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        port = profile / "DevToolsActivePort"
        until(lambda: port.exists() and port.read_text().strip(), "chromium listens")
        where = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        with urllib.request.urlopen(where, timeout=PATIENCE) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], proxy=None, max_size=None) as devtools:
            yield Browser(devtools)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and its children
        process.wait(PATIENCE)
