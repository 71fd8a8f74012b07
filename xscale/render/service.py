"""Render service: one thread that turns a viewer's latest request into better and better pictures.

A request is answered by a series of pictures. While the camera moves it is one picture
("moving"), delivered whole: colours are taken from pictures rendered before where they show the
same points (``xscale.render.reuse``), and what would take too long is made at a smaller size and
enlarged, so that a viewer asks for its full size at all times. At rest it is the exact one-sample
picture ("exact"), then pictures of 2 x 2 and more samples ("refined"), each delivered in bands of
rows from top to bottom; where a moving picture can be had first, it comes first. At rest the bits
are those of ``xscale render`` for the same camera, samples and background.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from xscale import ops
from xscale.errors import XscaleError
from xscale.gbuffer.cut import Plane
from xscale.geometry.camera import Camera
from xscale.render.live import Shown, ViewPainter
from xscale.render.modes import Scale
from xscale.render.run import Run
from xscale.render.scene_photos import PhotoReader

_BAND_SECONDS = 0.02
"""Aimed time of a band: a request waits for the end of the band that is being rendered."""
_IMPROVE_SHARE = 0.35
"""Time that is spent on pictures to come after each moving one, even where the next one waits, as a
share of its own."""
_FIRST_SAMPLES = 1 << 15
"""Samples of the first band, whose cost is not known yet."""


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
    cut: Plane | None = None
    """Plane beyond which nothing is shown; None shows the whole mesh."""


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
    scale: Scale = field(default_factory=Scale)
    """Values at the ends of the mode's colours."""


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
        photos: Reads the run's photos for the modes photo and error; by default from where the
            run's manifest says they are.
    """

    def __init__(
        self,
        run: Run,
        on_picture: Callable[[Picture], None],
        threads: int | None = None,
        on_error: Callable[[str], None] | None = None,
        photos: PhotoReader | None = None,
    ) -> None:
        self.last_error: str | None = None
        self._run = run
        self._painter = ViewPainter(run, photos)
        self._on_picture = on_picture
        self._on_error = on_error
        self._threads = threads
        self._changed = threading.Condition()
        self._latest: tuple[int, ViewRequest] | None = None
        self._work: deque[tuple[Callable[[Run], object], Callable[[object], None]]] = deque()
        self._count = 0
        self._busy = False
        self._closed = False
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
        def check() -> None:
            self._check(number, request.moving)

        shown = self._painter.shown(request)
        self._painter.prepare(shown, check)
        before = None
        if request.moving or self._painter.can_reuse(shown):
            before = self._moving_picture(number, shown, check)
        if request.moving:
            least = time.perf_counter() + _IMPROVE_SHARE * before.seconds
            self._painter.improve(
                shown, lambda: self._pending(number) and time.perf_counter() > least
            )
            return
        for samples in sorted({1, min(2, request.samples), request.samples}):
            before = self._stage(number, shown, samples, before, check)

    def _moving_picture(self, number: int, shown: Shown, check: Callable[[], None]) -> Picture:
        start = time.perf_counter()
        rows, reused = self._painter.moving(shown, check)
        height = len(rows.depth)
        picture = Picture(
            number,
            shown.request,
            rows.rgb,
            rows.depth,
            rows.face,
            stage="moving",
            samples=1,
            rows=(0, height),
            complete=True,
            seconds=time.perf_counter() - start,
            reused=reused,
            scale=shown.scale,
        )
        self._on_picture(picture)
        return picture

    def _stage(
        self,
        number: int,
        shown: Shown,
        samples: int,
        before: Picture | None,
        check: Callable[[], None],
    ) -> Picture:
        """Render one stage of a request at rest, deliver its bands, return the whole picture."""
        painter, request = self._painter, shown.request
        height, width = request.camera.height, request.camera.width
        start = time.perf_counter()
        if before is None:
            rgba = np.zeros((height, width, 4), np.uint8)
            depth = np.full((height, width), np.inf, np.float32)
            face = np.full((height, width), -1, np.int32)
        else:
            rgba, depth, face = before.rgba.copy(), before.depth.copy(), before.face.copy()
        stage = "exact" if samples == 1 else "refined"
        picture = Picture(
            number, request, rgba, depth, face, stage, samples, (0, 0), False, 0.0,
            scale=shown.scale,
        )  # fmt: skip
        per_row = width * samples**2
        top = 0
        while top < height:
            try:
                check()
            except _Cancelled:
                if samples == 1 and top > height // 2:
                    self._keep(shown, picture, top)
                raise
            began = time.perf_counter()
            cost = painter.cost(shown, samples > 1)
            most = _FIRST_SAMPLES if cost is None else _BAND_SECONDS / cost
            rows = min(max(1, int(most / per_row)), height - top)
            inside = np.s_[top : top + rows]
            rgba[inside, :, :3], depth[inside], face[inside] = painter.rows(
                shown, samples, (0, top, width, rows)
            )
            rgba[inside, :, 3] = 255
            top += rows
            now = time.perf_counter()
            painter.learn(shown, samples > 1, (now - began) / (rows * per_row))
            picture = replace(picture, rows=(0, top), complete=top == height, seconds=now - start)
            self._on_picture(picture)
        if samples == 1:
            self._keep(shown, picture, height)
        return picture

    def _keep(self, shown: Shown, picture: Picture, rows: int) -> None:
        """Keep the first rows of an exact picture for pictures of a moving camera."""
        depth = picture.depth.copy()
        depth[rows:] = np.inf
        self._painter.keep(shown, picture.rgba[..., :3], depth)

    def _pending(self, number: int) -> bool:
        """Whether something else than improving the pictures to come waits."""
        return self._closed or self._count != number or bool(self._work)
