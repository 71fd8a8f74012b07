"""Screenshots: a view rendered at any size, in bands between the window's own pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xscale.errors import OutputExistsError, XscaleError, printable
from xscale.geometry.camera import Camera
from xscale.io.photo.images import encode_png
from xscale.io.storage import write_bytes
from xscale_viewer.session import Session

if TYPE_CHECKING:
    from xscale.render.live import ViewPainter

_BAND_SAMPLES = 1 << 17
MOST_PIXELS = 1 << 28
"""Pixels of a screenshot."""


class Screenshot:
    """One screenshot being made, in the colours or the mode of the session.

    Args:
        session: Its source, samples, background and mode are taken.
        camera: The picture's, with its size.
        path: Where the PNG goes; by default a new name in the current folder.
    """

    def __init__(self, session: Session, camera: Camera, path: Path | None = None) -> None:
        self.done = False
        self.path: Path | None = None
        self._session = session
        self._camera = camera
        self._path = path
        self._samples = session.settings.samples
        self._painter: ViewPainter | None = None
        self._top = 0
        self._start = time.monotonic()
        if camera.width * camera.height > MOST_PIXELS:
            self._end(f"{camera.width} x {camera.height} is too large for a screenshot; "
                      "xscale render writes larger pictures")  # fmt: skip
            return
        from xscale.render.service import ViewRequest

        self._request = ViewRequest(
            camera,
            *session.mode_and_photo(),
            session.settings.background,
            samples=self._samples,
            cut=session.plane(),
        )
        self._picture = np.zeros((camera.height, camera.width, 3), np.uint8)
        self._next()

    def _next(self) -> None:
        camera, top = self._camera, self._top
        rows = min(max(1, _BAND_SAMPLES // (camera.width * self._samples**2)), camera.height - top)
        rect = (0, top, camera.width, rows)

        def render(run: object) -> np.ndarray | str:
            from xscale.render.live import ViewPainter

            try:
                if self._painter is None:
                    self._painter = ViewPainter(run)
                    self._shown = self._painter.shown(self._request)
                return self._painter.rows(self._shown, self._samples, rect).rgb
            except XscaleError as error:
                return str(error)

        self._session.ask(render, self._band)

    def _band(self, rows: object) -> None:
        if isinstance(rows, str):
            self._end(rows)
            return
        self._picture[self._top : self._top + len(rows)] = rows
        self._top += len(rows)
        if self._top < self._camera.height:
            share = 100 * self._top // self._camera.height
            self._session.say(f"Screenshot: {share} %")
            self._next()
        else:
            self._write()

    def _write(self) -> None:
        name = self._session.source.path.resolve().name or "view"
        data = encode_png(self._picture)
        for number in range(1, 10_000):
            path = self._path or Path(f"{name}-{number:03d}.png")
            try:
                write_bytes(path, data, overwrite=self._path is not None)
            except OutputExistsError:
                continue
            except XscaleError as error:
                self._end(str(error))
                return
            self.path = path.resolve()
            break
        size = f"{self._camera.width} x {self._camera.height}"
        seconds = time.monotonic() - self._start
        self._end(f"Written: {printable(self.path)} ({size}, {seconds:.1f} s)")

    def _end(self, line: str) -> None:
        self.done = True
        self._session.say(line)
