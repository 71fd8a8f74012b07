"""A desktop for tests: Xvfb, a window manager, and a viewer driven by xdotool."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

NEEDED = ("Xvfb", "openbox", "xdotool")
SIZE = (900, 600)
SERVER = "DISPLAY_SERVER_OF_TESTS"
"""Variable that holds the display's process id."""
_SCREEN = (1000, 700)


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in NEEDED if shutil.which(name) is None]


@contextmanager
def desktop(folder: Path, *options: str) -> Iterator[dict[str, str]]:
    """Start a display with a window manager; gives the environment for programs on it."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0",
         f"{_SCREEN[0]}x{_SCREEN[1]}x24", "-nolisten", "tcp", "-fbdir", str(folder),
         # Without it the server starts anew when its only client leaves, and others fail to come.
         "-noreset", *options],
        pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    manager = None
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        environment = {
            **os.environ, "DISPLAY": f":{number}", "XSCALE_CONFIG": str(folder / "config"),
            "OMP_NUM_THREADS": "1", "HOME": str(folder), SERVER: str(server.pid),
        }  # fmt: skip
        manager = subprocess.Popen(
            ["openbox"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _managed(environment)
        yield environment
    finally:
        for process in (manager, server):
            if process is not None:
                process.terminate()
                process.wait()


def _managed(environment: dict[str, str]) -> None:
    """Wait until the window manager answers: windows opened before it stay without a frame."""
    limit = time.monotonic() + 60
    question = ["xdotool", "get_num_desktops"]
    while subprocess.run(question, env=environment, capture_output=True, check=False).returncode:
        assert time.monotonic() < limit, "openbox did not start"
        time.sleep(0.05)


@dataclass
class Viewer:
    """A running viewer."""

    process: subprocess.Popen
    environment: dict[str, str]
    folder: Path
    window: str = ""

    def do(self, *words: object) -> str:
        """Run xdotool with these words."""
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout

    def key(self, name: str) -> None:
        """Press a key and let the window take it."""
        self.do("key", name)
        time.sleep(0.25)

    def picture(self) -> np.ndarray:
        """What the screen shows, uint8 [H, W, 3]."""
        data = (self.folder / "Xvfb_screen0").read_bytes()  # Xvfb keeps it in XWD's form
        header = int.from_bytes(data[:4], "big")
        words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, 100, 4)]
        width, height, line, colours = words[4], words[5], words[12], words[19]
        start = header + 12 * colours
        rows = np.frombuffer(data[start:], np.uint8).reshape(height, line)
        return rows[:, : width * 4].reshape(height, width, 4)[..., 2::-1]

    def save(self, name: str) -> None:
        """Keep a screenshot where XSCALE_SHOTS asks for it, for a person to look at."""
        if folder := os.environ.get("XSCALE_SHOTS"):
            Image.fromarray(np.ascontiguousarray(self.picture())).save(f"{folder}/{name}.png")

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        """Wait until something holds."""
        limit = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, f"the viewer ended before {what}"
            if time.monotonic() > limit:
                self.save("failed")
                raise AssertionError(f"no {what} in {seconds:g} s")
            time.sleep(0.1)

    def settled(self, seconds: float = 60.0) -> np.ndarray:
        """Wait until the screen stays the same for a second; return it."""
        limit, last, since = time.monotonic() + seconds, self.picture(), time.monotonic()
        while time.monotonic() - since < 1.0 and time.monotonic() < limit:
            time.sleep(0.2)
            now = self.picture()
            if not np.array_equal(now, last):
                last, since = now, time.monotonic()
        return last

    def close(self) -> int:
        """Close the window as a user does; return the exit code."""
        limit = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < limit:
            self.do("windowactivate", self.window)
            self.do("key", "alt+F4")
            # A busy machine's window manager may have missed it.
            for _ in range(50):
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        return self.process.wait(1)


@contextmanager
def viewer(environment: dict[str, str], folder: Path, *arguments: object) -> Iterator[Viewer]:
    """Start ``xscale view`` and wait for its window."""
    process = subprocess.Popen(
        [sys.executable, "-m", "xscale", "view", "--size", f"{SIZE[0]}x{SIZE[1]}",
         *map(str, arguments)],
        env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    found = Viewer(process, environment, folder)
    try:

        def there() -> bool:
            names = found.do("search", "--onlyvisible", "--name", "^xscale view$").split()
            found.window = names[-1] if names else ""
            return bool(names)

        found.wait(there, "window")
        found.do("windowactivate", "--sync", found.window)
        yield found
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()
