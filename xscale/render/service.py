"""Render service: one thread that turns a viewer's latest request into better and better pictures.

A request is answered by a series of pictures. While the camera moves it is one picture
("moving"), delivered whole. At rest it is the exact one-sample picture ("exact"), then pictures of
2 x 2 and more samples ("refined"), each delivered in bands of rows from top to bottom. At rest the
bits are those of ``xscale render`` for the same camera, samples and background.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from xscale import ops
from xscale.errors import UsageError, XscaleError
from xscale.geometry.camera import Camera
from xscale.render.frame import Frame
from xscale.render.modes import Mode, Scale, mode_of
from xscale.render.resolve import render_resolved
from xscale.render.run import BACKGROUNDS, Run

_BAND_SECONDS = 0.02
"""Aimed time of a band: a request waits for the end of the band that is being rendered."""
_FIRST_SAMPLES = 1 << 15
"""Samples of the first band, whose cost is not known yet."""
_PREVIEW = 32
_MOST_SAMPLES = 16


@dataclass(frozen=True, eq=False)
class ViewRequest:
    """A viewer's request."""

    camera: Camera
    """World frame; its size is the picture's."""
    mode: str = "colour"
    """One of ``xscale.render.modes.MODES``."""
    photo: str | None = None
    """Name of the photo whose exposure is taken, for the modes photo, render and error."""
    background: str = "run"
    """Background, as ``xscale render --background``: one of ``BACKGROUNDS``."""
    moving: bool = False
    """Whether the camera is moving: one fast picture is made, and nothing after it."""
    samples: int = 2
    """Samples along a pixel's edge that a picture at rest ends with."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, or the part of it that is finished.

    Pictures of one stage share their arrays: rows outside ``rows`` are still written to, rows
    inside are not touched again. Rows outside hold what the stage before showed of the same
    request, else transparent black, depth +inf and face -1.
    """

    number: int
    """Number of the request, as ``RenderService.request`` returned it."""
    request: ViewRequest
    rgba: np.ndarray
    """Uint8 [H, W, 4], sRGB; alpha is 255 where a pixel is finished."""
    depth: np.ndarray
    """Float32 [H, W], as ``Frame.depth``; +inf where nothing is hit."""
    face: np.ndarray
    """Int32 [H, W], row of the mesh's faces; -1 where nothing is hit."""
    stage: str
    """"moving", "exact" (one sample a pixel) or "refined" (several)."""
    samples: int
    """Samples along a pixel's edge."""
    rows: tuple[int, int]
    """First finished row, and the one after the last."""
    complete: bool
    """Whether all rows are finished."""
    seconds: float
    """From the beginning of this stage to the end of its last finished row."""
    reused: float = 0.0
    """Share of the covered pixels whose colours were taken from pictures rendered before."""


class _Cancelled(Exception):  # noqa: N818 - control flow, not a failure
    """A newer request took the place of this one."""


class RenderService:
    """Renders a run's views on one thread; the latest request wins.

    Only the service's thread may use the run while the service is open (``ask`` runs a function
    there). A picture is given up within 40 ms when a newer request arrives, but a moving picture is
    finished when the newer one moves too: a steady stream of requests still shows pictures.

    Args:
        run: The opened run.
        on_picture: Called on the render thread for every band of a picture at rest and for every
            moving picture.
        threads: CPU threads of the ops; None: as many as the process has.
        on_error: Called on the render thread with one line when a request fails; the thread goes
            on. Without it the line is kept in ``last_error``.
    """

    def __init__(
        self,
        run: Run,
        on_picture: Callable[[Picture], None],
        threads: int | None = None,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        self.last_error: str | None = None
        self._run = run
        self._on_picture = on_picture
        self._on_error = on_error
        self._threads = threads
        self._changed = threading.Condition()
        self._latest: tuple[int, ViewRequest] | None = None
        self._work: deque[tuple[Callable[[Run], object], Callable[[object], None]]] = deque()
        self._count = 0
        self._busy = False
        self._closed = False
        self._cost: dict[tuple[str, bool], float] = {}
        self._thread = threading.Thread(target=self._loop, name="xscale-render", daemon=True)
        self._thread.start()

    def request(self, request: ViewRequest) -> int:
        """Ask for a view in place of the one asked for before; return the request's number.

        Returns at once. What is wrong with a request is reported through ``on_error``.
        """
        with self._changed:
            self._count += 1
            self._latest = (self._count, request)
            self._changed.notify_all()
            return self._count

    def ask(
        self, work: Callable[[Run], object], on_done: Callable[[object], None] | None = None
    ) -> None:
        """Run ``work(run)`` on the render thread before the next band, then ``on_done(result)``."""
        with self._changed:
            self._work.append((work, on_done or (lambda _: None)))
            self._changed.notify_all()

    def idle(self) -> None:
        """Drop the request in work and make no pictures until the next one."""
        with self._changed:
            self._latest = None
            self._count += 1
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is left to do; return whether that was reached in ``timeout`` s."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._busy or self._latest or self._work), timeout
            )

    def close(self) -> None:
        """Stop the thread; what is being rendered is given up. May be called twice."""
        with self._changed:
            self._closed = True
            self._latest = None
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> RenderService:
        """Return the service."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _loop(self) -> None:
        limit = self._run_threads()
        with limit:
            while True:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed or self._latest or self._work)
                    if self._closed:
                        return
                    self._busy = True
                    latest, self._latest = self._latest, None
                try:
                    self._serve_work()
                    if latest is not None:
                        self._answer(*latest)
                except _Cancelled:
                    continue
                except Exception as error:  # the thread must go on
                    self._report(error)

    def _run_threads(self) -> contextlib.AbstractContextManager:
        if self._threads is None:
            return contextlib.nullcontext()
        return ops.limit_threads(self._threads)

    def _serve_work(self) -> None:
        while True:
            with self._changed:
                if not self._work or self._closed:
                    return
                work, on_done = self._work.popleft()
            try:
                on_done(work(self._run))
            except Exception as error:  # the thread must go on
                self._report(error)

    def _report(self, error: Exception) -> None:
        known = isinstance(error, XscaleError)
        line = str(error) if known else f"rendering failed: {type(error).__name__}: {error}"
        self.last_error = line
        if self._on_error is not None:
            self._on_error(line)

    def _check(self, number: int, moving: bool) -> None:
        """Serve what was asked for beside the pictures.

        Raises:
            _Cancelled: Another request took the place of this one.
        """
        with self._changed:
            newer = self._count != number
            if moving and self._latest is not None and self._latest[1].moving:
                newer = False
            if self._closed or newer:
                raise _Cancelled
        if self._work:
            self._serve_work()

    def _answer(self, number: int, request: ViewRequest) -> None:
        mode = mode_of(request.mode)
        if request.background not in BACKGROUNDS:
            raise UsageError(
                f"no background {request.background!r}; there are {', '.join(BACKGROUNDS)}"
            )
        if not 1 <= request.samples <= _MOST_SAMPLES:
            raise UsageError(f"samples is 1 to {_MOST_SAMPLES}, got {request.samples}")
        scale = self._scale(request.camera, mode)
        if request.moving:
            self._stage(number, request, mode, scale, "moving", 1, None)
            return
        before = None
        for samples in sorted({1, min(2, request.samples), request.samples}):
            stage = "exact" if samples == 1 else "refined"
            before = self._stage(number, request, mode, scale, stage, samples, before)

    def _scale(self, camera: Camera, mode: Mode) -> Scale:
        """Return the ends of the mode's colour scale for a view."""
        levels = self._run.model.settings.grid.levels
        if not mode.needs_range:
            return Scale(levels=levels)
        small = camera.scaled(_PREVIEW, _PREVIEW)
        frame = self._run.render(small, ("depth", "footprint"))
        seen = torch.isfinite(frame.depth)
        if not bool(seen.any()):
            return Scale(levels=levels)
        depths = np.quantile(frame.depth[seen].cpu().numpy(), (0.005, 0.995))
        area = camera.width * camera.height / _PREVIEW**2
        sizes = np.quantile(frame.footprint[seen].cpu().numpy(), (0.005, 0.995)) / area**0.5
        return Scale(tuple(map(float, depths)), tuple(map(float, sizes)), levels)

    def _stage(
        self,
        number: int,
        request: ViewRequest,
        mode: Mode,
        scale: Scale,
        stage: str,
        samples: int,
        before: Picture | None,
    ) -> Picture:
        """Render one stage of a request, deliver its bands and return the whole picture."""
        height, width = request.camera.height, request.camera.width
        start = time.perf_counter()
        if before is None:
            rgba = np.zeros((height, width, 4), np.uint8)
            depth = np.full((height, width), np.inf, np.float32)
            face = np.full((height, width), -1, np.int32)
        else:
            rgba, depth, face = before.rgba.copy(), before.depth.copy(), before.face.copy()
        picture = Picture(number, request, rgba, depth, face, stage, samples, (0, 0), False, 0.0)
        renderer = self._run.renderer_on(request.background)
        needs = tuple(dict.fromkeys((*mode.needs, "depth", "face")))
        key = (request.mode, samples > 1)
        top = 0
        while top < height:
            self._check(number, request.moving)
            began = time.perf_counter()
            per_row = width * samples**2
            cost = self._cost.get(key)
            most = _FIRST_SAMPLES if cost is None else _BAND_SECONDS / cost
            rows = min(max(1, int(most / per_row)), height - top)
            rect = (0, top, width, rows)
            frame = render_resolved(renderer, request.camera, needs, rect, samples)
            inside = np.s_[top : top + rows]
            rgba[inside, :, :3] = mode.paint(frame, scale)
            rgba[inside, :, 3] = 255
            depth[inside], face[inside] = _values(frame)
            top += rows
            now = time.perf_counter()
            self._learn(key, (now - began) / (rows * per_row))
            picture = replace(picture, rows=(0, top), complete=top == height, seconds=now - start)
            if picture.complete or not request.moving:
                self._on_picture(picture)
        return picture

    def _learn(self, key: tuple[str, bool], cost: float) -> None:
        """Keep what a sample costs: what is dearer is believed at once, what is cheaper slowly."""
        known = self._cost.get(key)
        self._cost[key] = cost if known is None else max(cost, 0.7 * known + 0.3 * cost)


def _values(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    return frame.depth.numpy(), frame.face.numpy()
