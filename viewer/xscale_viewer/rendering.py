"""Rendering of a camera path in a process of its own, with progress, and how it is given up."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from xscale.errors import printable
from xscale_viewer.session import Session

COMMAND = ("-m", "xscale_viewer", "--path")
"""Arguments of Python that start the process."""


class PathRender:
    """One rendering.

    Args:
        session: Its run, samples, background and device are taken.
        cameras: The camera path's file.
        out: Folder of the frames.
        video: mp4, webm, or None for frames only.
        overwrite: Replace another job in the folder.
    """

    def __init__(
        self,
        session: Session,
        cameras: Path,
        out: Path,
        video: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.done = False
        self.share = 0.0
        """How much is finished, 0 to 1."""
        self.line = "starting ..."
        self.result: dict | None = None
        """Last report of a rendering that came to its end."""
        self._session = session
        self._cancelled = False
        s = session.settings
        order = {
            "run": str(session.source.path.resolve()),
            "run_id": session.source.run.manifest.run,
            "cameras": str(cameras.resolve()),
            "out": str(out.resolve()),
            "samples": 1 if s.low_power else s.samples,
            "background": s.background,
            "device": session.device,
            "video": video,
            "overwrite": overwrite,
        }
        self._process = subprocess.Popen(
            [sys.executable, *COMMAND, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._listen, name="xscale-path", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Give it up; finished frames stay, and the next rendering goes on from them."""
        self._cancelled = True
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def close(self) -> None:
        """Give it up and wait until its process has ended."""
        self.cancel()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        for text in self._process.stdout:
            with contextlib.suppress(ValueError):
                report = json.loads(text)
                self._post(lambda report=report: self._take(report))
        code = self._process.wait()
        for pipe in (self._process.stdout, self._process.stdin):
            with contextlib.suppress(OSError):
                pipe.close()
        self._post(lambda: self._ended(code))

    def _post(self, work: Callable[[], None]) -> None:
        self._session.post(work)

    def _take(self, report: dict) -> None:
        what = report.get("what")
        if what in ("frame", "film"):
            self.share = report["done"] / max(report["total"], 1)
            name = "frames" if what == "frame" else "film"
            self.line = f"{name}: {report['done']} of {report['total']}"
        elif what == "fault":
            self.line = report["line"]
            self._session.say(self.line)
        elif what == "done":
            self.result, self.share = report, 1.0
            self.line = (
                f"Written: {printable(Path(report['path']))} ({report['rendered']} frames "
                f"rendered, {report['kept']} were finished before)"
            )
            self._session.say(self.line)

    def _ended(self, code: int) -> None:
        self.done = True
        if self._cancelled and self.result is None:
            self.line = "stopped; finished frames stay, and the next rendering makes the others"
            self._session.say(self.line)
        elif code and self.result is None and self.line.startswith(("starting", "frames", "film")):
            self.line = f"the rendering ended by itself (code {code})"
            self._session.say(self.line)
