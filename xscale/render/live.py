"""Rows of pixels for a viewer's request: the work behind the service."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from xscale import threads
from xscale.errors import UsageError
from xscale.gbuffer.cut import cut_surface
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.render.modes import Mode, Scale, difference, mode_of
from xscale.render.painter_renderer import PainterRenderer
from xscale.render.painter_reuse import can_reuse, mover
from xscale.render.proxy import HEAVY_FACES, proxy_surface
from xscale.render.renderer import Renderer
from xscale.render.resolve import render_resolved
from xscale.render.reuse import MovingRenderer
from xscale.render.run import BACKGROUNDS, Run
from xscale.render.scene_photos import (
    PhotoReader,
    is_same_place,
    photo_from_its_place,
    photo_on_points,
)
from xscale.render.vertex_values import expected_errors, run_photo_counts

if TYPE_CHECKING:
    from xscale.render.service import ViewRequest

MOST_SAMPLES = 16
_PREVIEW = 32
_MOVING_SECONDS = 0.07
"""Time that a moving picture may take; beyond it, it is made smaller and enlarged."""
_MOST_MOVING = 2
"""Sizes and lights whose key frames are kept: a viewer may halve its pictures while it moves."""
_SMALLEST = 4
"""By how much at most."""


class Rows(NamedTuple):
    """Rows of a picture."""

    rgb: np.ndarray
    """Uint8 [h, w, 3]; of ``ViewPainter.moving`` [h, w, 4], alpha 255."""
    depth: np.ndarray
    """Float32 [h, w]."""
    face: np.ndarray
    """Int32 [h, w]."""


@dataclass(eq=False)
class Shown:
    """A request, checked, with what all its pictures share."""

    request: ViewRequest
    mode: Mode
    renderer: Renderer
    exposure: Tensor | None
    scale: Scale
    photos: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    """Pixels of the photo for the view, uint8 [H, W, 3], by (width, height)."""

    @property
    def camera(self) -> Camera:
        """The request's."""
        return self.request.camera

    @property
    def coloured(self) -> bool:
        """Whether it shows the model's colours and nothing else."""
        return self.request.mode in ("colour", "render")


class ViewPainter:
    """Paints requests of one run; for the render thread alone.

    Args:
        run: The opened run.
        photos: Reads the run's photos for the modes that show them; by default from where the
            run's manifest says they are.
    """

    def __init__(self, run: Run, photos: PhotoReader | None = None) -> None:
        self._run = run
        self._photos = photos
        self._counts: Tensor | None = None
        self._proxy: Future[Surface] | None = None
        self._proxy_failed = False
        self._moving: OrderedDict[object, MovingRenderer] = OrderedDict()
        self._cost: dict[tuple[str, bool], float] = {}

    def shown(self, request: ViewRequest) -> Shown:
        """Check a request and find what its pictures share.

        Raises:
            UsageError: There is no such mode, background or photo, or samples are out of range.
        """
        mode = mode_of(request.mode)
        if request.background not in BACKGROUNDS:
            raise UsageError(
                f"no background {request.background!r}; there are {', '.join(BACKGROUNDS)}"
            )
        if not 1 <= request.samples <= MOST_SAMPLES:
            raise UsageError(f"samples is 1 to {MOST_SAMPLES}, got {request.samples}")
        exposure = None
        if mode.of_photo:
            if request.photo is None:
                raise UsageError(f"mode {request.mode} needs the name of a photo")
            exposure = self._run.exposure(request.photo)
        renderer = self._run.renderer_on(request.background)
        if request.cut is not None:
            renderer = renderer.over(cut_surface(renderer.surface, request.cut, self._run.origin))
        scale = self._scale(request.camera, mode, renderer)
        return Shown(request, mode, renderer, exposure, scale)

    def prepare(self, shown: Shown, check: Callable[[], None]) -> None:
        """Make what all pictures of a mode need, once.

        Args:
            shown: Of ``shown``.
            check: Called between parts of the work; may raise to give it up.
        """
        if {"photos", "uncertainty"} & set(shown.mode.needs):
            for view in self._run.views:
                check()
                _ = view.depths

    def rows(self, shown: Shown, samples: int, rect: tuple[int, int, int, int]) -> Rows:
        """Render a rectangle as ``xscale render`` does, pixel for pixel.

        Args:
            shown: Of ``shown``.
            samples: Samples along a pixel's edge.
            rect: (left, top, width, height).
        """
        return self._rows(shown, shown.renderer, shown.camera, samples, rect)

    def moving(self, shown: Shown, check: Callable[[], None]) -> tuple[Rows, float]:
        """Render a whole picture fast; return it and the share of its colours that was reused.

        Its colours have four channels.

        Args:
            shown: Of ``shown``.
            check: Called between parts of longer work; may raise to give it up.
        """
        if _reuses(shown):
            proxy = self._proxy_of(shown)
            if proxy is not None:
                return self._moving_proxy(shown, proxy, check)
            *parts, reused = self._reusing(shown).render(shown.camera, check)
            return Rows(*(part.numpy() for part in parts)), reused
        renderer = self._fast_renderer(shown, check)
        camera, smaller = self._smaller(shown)
        start = time.perf_counter()
        rect = (0, 0, camera.width, camera.height)
        rows = self._rows(shown, renderer, camera, 1, rect)
        self.learn(shown, True, (time.perf_counter() - start) / (camera.width * camera.height))
        rgba = np.full((camera.height, camera.width, 4), 255, np.uint8)
        rgba[..., :3] = rows.rgb
        rows = rows._replace(rgb=rgba)
        if smaller == 1:
            return rows, 0.0
        width, height = shown.camera.width, shown.camera.height
        return Rows(*(_enlarged(part, smaller, width, height) for part in rows)), 0.0

    def can_reuse(self, shown: Shown) -> bool:
        """Whether there are key frames that a picture of the request can be made from."""
        if not _reuses(shown):
            return False
        found = self._moving.get(_key(shown))
        return found is not None and found.ready

    def _proxy_of(self, shown: Shown) -> Surface | None:
        """Return the simplified mesh where one is needed; None until it is ready.

        It is made on a thread of its own: the pictures until then show the whole mesh.
        """
        light = len(shown.renderer.surface.faces) <= HEAVY_FACES
        if light or self._proxy_failed or isinstance(shown.renderer, PainterRenderer):
            return None
        if self._proxy is None:
            pool = threads.aside("proxy")
            self._proxy = pool.submit(proxy_surface, self._run)
            pool.shutdown(wait=False)
        if not self._proxy.done():
            return None
        # An error is reported once; the pictures then show the whole mesh.
        self._proxy_failed = self._proxy.exception() is not None
        return self._proxy.result()

    def _moving_proxy(
        self, shown: Shown, proxy: Surface, check: Callable[[], None]
    ) -> tuple[Rows, float]:
        """Render a moving picture of the simplified mesh at half size; it has no face ids."""
        camera = shown.camera
        small = camera.scaled(-(-camera.width // 2), -(-camera.height // 2))
        key = ("proxy", *_key(shown))
        cut = shown.request.cut
        if cut is not None:
            proxy = cut_surface(proxy, cut, self._run.origin)
        renderer = shown.renderer.over(proxy)
        if key not in self._moving:
            size = (small.width, small.height)
            self._keep_mover(key, MovingRenderer(renderer, size, shown.exposure))
        self._moving[key].renderer = renderer
        found = self._moving[key].render(small, check)
        parts = (found.rgba.numpy(), found.depth.numpy(), np.full_like(found.face.numpy(), -1))
        wide = (_enlarged(part, 2, camera.width, camera.height) for part in parts)
        return Rows(*wide), found.reused

    def keep(self, shown: Shown, rgb: np.ndarray, depth: np.ndarray) -> None:
        """Keep an exact one-sample picture as a key frame.

        Args:
            shown: Of ``shown``.
            rgb: Uint8 [H, W, 3].
            depth: Float32 [H, W], +inf in rows that are not rendered.
        """
        if _reuses(shown):
            colour = torch.from_numpy(np.ascontiguousarray(rgb))
            self._reusing(shown).keep(shown.camera, colour, torch.from_numpy(depth))

    def improve(self, shown: Shown, stop: Callable[[], bool]) -> None:
        """Work on the next key frame, where one is wanted, until ``stop()``."""
        if not _reuses(shown):
            return
        mover = self._moving.get(("proxy", *_key(shown)))
        (mover or self._reusing(shown)).improve(stop)

    def cost(self, shown: Shown, fine: bool) -> float | None:
        """Return the seconds that a sample takes, None where that is not known yet."""
        return self._cost.get((shown.request.mode, fine))

    def learn(self, shown: Shown, fine: bool, seconds: float) -> None:
        """Note what a sample took: more is believed at once, less slowly."""
        key = (shown.request.mode, fine)
        known = self._cost.get(key)
        self._cost[key] = seconds if known is None else max(seconds, 0.7 * known + 0.3 * seconds)

    def _rows(
        self,
        shown: Shown,
        renderer: Renderer,
        camera: Camera,
        samples: int,
        rect: tuple[int, int, int, int],
    ) -> Rows:
        mode, name = shown.mode, shown.request.mode
        needs = tuple(dict.fromkeys((*mode.needs, "depth", "face")))
        frame = render_resolved(renderer, camera, needs, rect, samples, shown.exposure)
        if name in ("photo", "error"):
            _, top, _, height = rect
            rgb = self._photo(shown, camera)[top : top + height]
            if name == "error":
                rgb = difference(rgb, frame.colour.numpy())
        else:
            rgb = mode.paint(frame, shown.scale)
        return Rows(rgb, frame.depth.numpy(), frame.face.numpy())

    def _photo(self, shown: Shown, camera: Camera) -> np.ndarray:
        """Return what a view shows of the request's photo, uint8 [H, W, 3]."""
        size = (camera.width, camera.height)
        if size not in shown.photos:
            name = shown.request.photo
            pixels, taken = self._reader.read(name), self._run.camera(name)
            taken = taken.scaled(pixels.shape[1], pixels.shape[0])
            if is_same_place(taken, camera, self._run.origin):
                shown.photos[size] = photo_from_its_place(pixels, taken, camera)
            else:
                names = self._run.names("train")
                if name not in names:
                    raise UsageError(
                        f"{name} is a test photo: it is shown at its own place only",
                        advice="jump to the photo",
                    )
                position = shown.renderer.render(camera, ("position",)).position.cpu().numpy()
                shown.photos[size] = photo_on_points(
                    pixels,
                    taken.recentred(self._run.origin),
                    self._run.views[names.index(name)],
                    camera,
                    position,
                )
        return shown.photos[size]

    @cached_property
    def _reader(self) -> PhotoReader:
        return self._photos or PhotoReader(self._run)

    def _scale(self, camera: Camera, mode: Mode, renderer: Renderer) -> Scale:
        """Return the ends of the mode's colour scale for a view."""
        levels = self._run.model.settings.grid.levels
        if not mode.needs_range:
            return Scale(levels=levels)
        small = camera.scaled(_PREVIEW, _PREVIEW)
        frame = renderer.render(small, ("depth", "footprint"))
        seen = torch.isfinite(frame.depth)
        if not bool(seen.any()):
            return Scale(levels=levels)
        depths = np.quantile(frame.depth[seen].cpu().numpy(), (0.005, 0.995))
        area = camera.width * camera.height / _PREVIEW**2
        sizes = np.quantile(frame.footprint[seen].cpu().numpy(), (0.005, 0.995)) / area**0.5
        return Scale(tuple(map(float, depths)), tuple(map(float, sizes)), levels)

    def _reusing(self, shown: Shown) -> MovingRenderer:
        key = _key(shown)
        if key not in self._moving:
            size = (shown.camera.width, shown.camera.height)
            self._keep_mover(key, mover(shown.renderer, size, shown.exposure))
        self._moving.move_to_end(key)
        # Cut or not: colours of the points that are left are the same.
        self._moving[key].renderer = shown.renderer
        return self._moving[key]

    def _keep_mover(self, key: object, mover: MovingRenderer) -> None:
        self._moving[key] = mover
        if len(self._moving) > _MOST_MOVING:
            self._moving.popitem(last=False)

    def _fast_renderer(self, shown: Shown, check: Callable[[], None]) -> Renderer:
        """Return a renderer whose photo counts and uncertainties come from the vertices."""
        if shown.request.mode not in ("photos", "uncertainty"):
            return shown.renderer
        if self._counts is None:
            self._counts = run_photo_counts(self._run, check)
        fast = copy.copy(shown.renderer)
        fast.at_vertices = {"photos": self._counts}
        if shown.request.mode == "uncertainty":
            fast.at_vertices["uncertainty"] = expected_errors(self._run.residuals, self._counts)
        return fast

    def _smaller(self, shown: Shown) -> tuple[Camera, int]:
        """Return a camera whose picture is made in time, and by how much it is smaller."""
        camera = shown.camera
        cost = self.cost(shown, True) or 0.0
        smaller = 1
        while smaller < _SMALLEST and (
            cost * camera.width * camera.height / smaller**2 > _MOVING_SECONDS
        ):
            smaller += 1
        size = (-(-camera.width // smaller), -(-camera.height // smaller))
        return camera.scaled(*size), smaller


def _key(shown: Shown) -> tuple[object, ...]:
    """Return what pictures must share to be key frames of each other."""
    request = shown.request
    photo = request.photo if shown.mode.of_photo else None
    size = (request.camera.width, request.camera.height)
    return *size, request.background, photo, type(shown.renderer)


def _reuses(shown: Shown) -> bool:
    """Whether its moving pictures take colours of key frames."""
    return shown.coloured and can_reuse(shown.renderer, shown.camera)


def _enlarged(part: np.ndarray, times: int, width: int, height: int) -> np.ndarray:
    wide = part.repeat(times, axis=0).repeat(times, axis=1)
    return wide[:height, :width]
