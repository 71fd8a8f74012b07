"""A headless Chromium with WebGPU on its software driver, spoken to through its debugging pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--no-first-run", "--mute-audio",
    "--hide-scrollbars", "--use-vulkan=swiftshader", "--use-angle=vulkan",
    "--enable-features=Vulkan", "--enable-unsafe-swiftshader", "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader", "--remote-debugging-pipe", "--disable-dev-shm-usage",
)  # fmt: skip
WITHOUT_WEBGPU = ("--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu",
                  "--disable-features=WebGPU,WebGPUService", "--disable-dev-shm-usage",
                  "--disable-blink-features=WebGPU", "--remote-debugging-pipe")  # fmt: skip

_WITH_PIPES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def chromium() -> str | None:
    """The browser's program, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


needs_browser = pytest.mark.skipif(chromium() is None, reason="chromium is not installed")


class Browser:
    """One browser with one page."""

    def __init__(self, flags=FLAGS):
        self._home = tempfile.mkdtemp(prefix="xscale-browser-")
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # The browser reads commands from 3 and writes answers to 4.
        read, write = (fcntl.fcntl(n, fcntl.F_DUPFD, 10) for n in (theirs_in, theirs_out))
        program = [chromium(), *flags, f"--user-data-dir={self._home}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WITH_PIPES, str(read), str(write), *program],
            pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read)
        os.close(write)
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._number, self._held, self._session = 0, b"", None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.send("Page.enable")

    def send(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._answer(self._number)

    def _answer(self, number, timeout=180):
        end = time.monotonic() + timeout
        while True:
            while b"\0" in self._held:
                message, self._held = self._held.split(b"\0", 1)
                message = json.loads(message)
                if message.get("id") == number:
                    assert "error" not in message, message["error"]
                    return message["result"]
            ready = select.select([self._in], [], [], max(0, end - time.monotonic()))[0]
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser ended"
            self._held += part

    def open(self, url, width=320, height=240, mobile=False):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=mobile,
        )  # fmt: skip
        self.send("Page.navigate", url=url)

    @contextmanager
    def before_pages(self, script):
        """Run a script in every page before its own, inside the block."""
        added = self.send("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
        try:
            yield
        finally:
            self.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added)

    def run(self, script):
        """The value of a JavaScript expression, promises awaited."""
        found = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition, timeout=120):
        end = time.monotonic() + timeout
        while not self.run(condition):
            assert time.monotonic() < end, f"not within {timeout} s: {condition}: {self.words()}"
            time.sleep(0.1)

    def words(self):
        """What the page says."""
        return self.run(
            "document.getElementById('message') && document.getElementById('message').textContent"
        )

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def mouse(self, kind, x, y, button="left", **more):
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1, **more
        )

    def crash_gpu(self):
        """End the process that draws, as a driver's crash does."""
        session, self._session = self._session, None
        self.send("Browser.crashGpuProcess")
        self._session = session

    def close(self):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._home, ignore_errors=True)


def opened(browser, url, **size):
    """The browser, when the page shows an exact picture."""
    browser.open(url, **size)
    browser.wait(
        "window.xscale && xscale.stage === 'exact' || /refined/.test(window.xscale && xscale.stage)"
    )
    return browser
