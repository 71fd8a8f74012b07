"""A render service without a thread, and a source without files, for tests of the logic."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xscale.render.service import Picture
from xscale_viewer.navigation import look_at

UP = np.array([0.0, 0, 1])


class FakeService:
    """Answers when it is told to: ``answer`` delivers the latest request's picture."""

    def __init__(self, run, on_picture, threads=None, on_error=None):
        self.run, self.on_picture, self.on_error = run, on_picture, on_error
        self.requests, self.asked = [], []
        self.idled, self.closed = 0, False

    def request(self, request):
        self.requests.append(request)
        return len(self.requests)

    def ask(self, work, on_done=None):
        self.asked.append(work)
        on_done(False)

    def idle(self):
        self.idled += 1

    def close(self):
        self.closed = True

    def answer(self, depth=4.0, seconds=0.01, stage=None, samples=1, rows=None):
        request = self.requests[-1]
        height, width = request.camera.height, request.camera.width
        stage = stage or ("moving" if request.moving else "exact")
        rows = rows or (0, height)
        self.on_picture(
            Picture(
                len(self.requests), request, np.zeros((height, width, 4), np.uint8),
                np.full((height, width), depth, np.float32),
                np.zeros((height, width), np.int32), stage, samples, rows,
                rows[1] == height, seconds, 0.5,
            )
        )  # fmt: skip


class FakeSource:
    """A room of 10 x 10 x 5 units with two photos."""

    kind = "run"
    georeference = None
    points = None
    sample = np.zeros((0, 3))
    near = 0.001
    modes = ("colour", "depth", "normal")
    tests = frozenset({"b.jpg"})
    up = UP
    run = None

    def __init__(self, path: Path = Path("fake")) -> None:
        self.path = Path(path)
        self.origin = np.zeros(3)
        self.low, self.high = np.array([-5.0, -5, 0]), np.array([5.0, 5, 5])
        self.cameras = {
            name: look_at(np.array([x, -4.0, 1.5]), np.array([0.0, 0, 1]), UP).camera(300, 200)
            for name, x in (("a.jpg", -1.0), ("b.jpg", 2.0))
        }

    @property
    def frustums(self) -> dict[str, float]:
        return dict.fromkeys(self.cameras, 0.3)

    @property
    def extent(self) -> float:
        return 15.0

    def open_scene(self, folder=None):
        from xscale.errors import InputError

        raise InputError("the photos' folder is not there", where="gone")
