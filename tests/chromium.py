"""Chromium without a window, driven by its own protocol over a pipe: pages are opened and used."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """An open page."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._left:
            data = os.read(self._reader, 1 << 16)
            assert data, "chromium ended"
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        event = json.loads(message)
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["params"]["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.errors.append(event["params"]["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.errors.append(f"asked for {url}")
        return event

    def open(self, path: Path, width: int, height: int, dark: bool = False) -> None:
        """Open a file at a window's size and wait until all of it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.value(
            "new Promise(done => { const look = () => document.readyState == 'complete' "
            "&& location.href != 'about:blank' ? done(1) : setTimeout(look, 50); look() })"
        )

    def value(self, expression: str) -> object:
        """Evaluate JavaScript, promises included."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 5) -> None:
        """Press the mouse at a place, move it, let it go."""
        self.mouse("mousePressed", *start)
        for i in range(1, steps + 1):
            at = [a + (b - a) * i / steps for a, b in zip(start, end, strict=True)]
            self.mouse("mouseMoved", *at)
        self.mouse("mouseReleased", *end)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Send one event of the mouse, its left button."""
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1,
            buttons=0 if kind == "mouseReleased" else 1,
        )  # fmt: skip

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Write a PNG of the page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self, path: Path) -> None:
        """Write the PDF that printing makes."""
        pdf = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(pdf["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start Chromium with a profile in a folder; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("chromium is not installed")
    ours, theirs = os.pipe(), os.pipe()
    # Chromium reads number 3 and writes number 4: pipes whose numbers cannot be either.
    given = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (ours[0], theirs[1])]
    command = f'exec {program} "$@" 3<&{given[0]} 4>&{given[1]}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", command, "chromium", "--headless=new", "--remote-debugging-pipe",
         "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
         "--force-color-profile=srgb", "--hide-scrollbars", "--disable-background-networking",
         f"--user-data-dir={folder / 'profile'}", "about:blank"],
        pass_fds=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for end in (*given, ours[0], theirs[1]):
        os.close(end)
    try:
        yield Page(theirs[0], ours[1])
    finally:
        process.kill()
        process.wait()
        os.close(theirs[0])
        os.close(ours[1])
