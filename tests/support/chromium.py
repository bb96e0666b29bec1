"""A headless Chromium that shows pages, for those who measure what people would see.

It is driven over the DevTools protocol itself: a browser is one program, its drivers are packages.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S = 120.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Page:
    """One page of a browser."""

    def __init__(self, socket: Connection, session: str) -> None:
        """Show nothing yet."""
        self._socket, self._session, self._ids = socket, session, count(1)

    def open(self, address: str, *, width_px: int, height_px: int = 900) -> None:
        """Show an address in a window of some width, and wait until all of it is there."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=1,
            mobile=width_px < 600,
        )
        self.run("window.isOld = true")
        found = self._ask("Page.navigate", url=address)
        assert "errorText" not in found, (address, found)
        self.wait_for("!window.isOld && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of some JavaScript; of a promise, what it is kept with."""
        found = self._evaluate(script)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Return the value of some JavaScript as soon as it is true of the page."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (value := self._evaluate(script)["result"].get("value")):
            assert time.monotonic() < deadline, f"never: {script}"
            time.sleep(0.05)
        return value

    def _evaluate(self, script: str) -> dict[str, Any]:
        return self._ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )

    def save(self, path: Path) -> Path:
        """Write the whole page as a PNG, to look at."""
        found = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def _ask(self, method: str, **values: object) -> dict[str, Any]:
        number = next(self._ids)
        question = {"id": number, "method": method, "params": values, "sessionId": self._session}
        return _answer(self._socket, question)


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Run a browser until the body ends; gives its page.

    Skips the test, with the reason, where no Chromium is installed.

    Args:
        folder: For its profile, which it fills with some megabytes.
    """
    programs = [path for name in NAMES if (path := shutil.which(name))]
    if not programs:
        pytest.skip("Chromium is not installed (the package chromium of Debian)")
    with (folder / "chromium.log").open("w") as log:
        words = [programs[0], *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        with connect(_address(folder, process), max_size=None, proxy=None) as socket:
            empty: dict[str, object] = {"url": "about:blank"}
            made = _answer(socket, {"id": 1, "method": "Target.createTarget", "params": empty})
            it = {"targetId": made["targetId"], "flatten": True}
            found = _answer(socket, {"id": 2, "method": "Target.attachToTarget", "params": it})
            yield Page(socket, found["sessionId"])
    finally:
        process.terminate()
        process.wait(timeout=TIMEOUT_S)


def _address(folder: Path, process: "subprocess.Popen[bytes]") -> str:
    """Return where a browser that was just started can be told something."""
    told, deadline = folder / "profile" / "DevToolsActivePort", time.monotonic() + TIMEOUT_S
    lines: list[str] = []
    while len(lines) < 2:
        is_waiting = process.poll() is None and time.monotonic() < deadline
        assert is_waiting, (folder / "chromium.log").read_text()[-2000:]
        time.sleep(0.1)
        lines = told.read_text().splitlines() if told.exists() else []
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


def _answer(socket: Connection, question: dict[str, Any]) -> dict[str, Any]:
    """Ask something and return the answer; events that come before it are dropped."""
    socket.send(json.dumps(question))
    while True:
        found = json.loads(socket.recv(timeout=TIMEOUT_S))
        if found.get("id") == question["id"]:
            assert "error" not in found, (question, found)
            result: dict[str, Any] = found["result"]
            return result
