"""A real Chromium for the reports, spoken to over its debugging pipe: no driver, no network."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu-sandbox",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1240,900",
    "--remote-debugging-pipe",
)


class Browser:
    """One page of a headless Chromium.

    requests: the addresses that pages asked for (their own file apart). problems: console errors and exceptions.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        there, self._out = os.pipe()
        self._in, back = os.pipe()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._next, self._rest, self._session = 0, b"", None

        def connect() -> None:
            # Chromium reads commands from 3 and writes answers to 4; moved away first so that neither overwrites the other
            one, other = os.dup(there), os.dup(back)
            os.dup2(one, 3)
            os.dup2(other, 4)

        command = [str(program), *SWITCHES, f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            command, preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(there)
        os.close(back)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._next:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self.requests.clear()
        self.problems.clear()
        self.send("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def screenshot(self, path: Path, *, whole: bool = True) -> bytes:
        """A PNG of the page."""
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        path.write_bytes(data)
        return data

    def pdf(self, path: Path) -> bytes:
        """The print view."""
        data = base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])
        path.write_bytes(data)
        return data

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._out)
        os.close(self._in)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        detail = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            url = detail["request"]["url"]
            if not url.startswith(("data:", "blob:", "about:")) and not url.endswith("report.html"):
                self.requests.append(url)
        elif message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(detail["exceptionDetails"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and detail["type"] in ("error", "assert"):
            self.problems.append(str(detail["args"]))
        elif message.get("method") == "Log.entryAdded" and detail["entry"]["level"] == "error":
            self.problems.append(str(detail["entry"]["text"]))
        return message


@pytest.fixture(scope="session")
def browser(requires_tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium."""
    found = Browser(requires_tool("chromium"), tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()
