"""Colours for surface points, fitted to how the training cameras see them.

One colour a point is what standard files hold: the mean of the training views, each counted by how
many of its pixels the point takes, which is the least-squares answer over all training pixels.
Spherical harmonics of the direction follow the viewer: a least-squares fit over the same views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.gbuffer.build import build_gbuffer
from xscale.geometry.camera import Camera
from xscale.render.run import Run

DEGREES = (0, 1, 2)
"""Of harmonics; 0 is one colour."""
_CHUNK = 1 << 17
_PROBES = 1 << 12
"""Points of a chunk that tell which cameras see it."""
_VIEWS = 8
"""Cameras of a probe that are taken, those that see it largest first."""
_MOST_PIXELS = 1 << 21
"""Of a camera, when it is asked what it sees."""
_DEPTH_PIXELS = 1 << 28
"""Of all cameras together."""
_ROWS = 256
_TOLERANCE = 0.005
"""How much deeper than the pixel a point may lie, as a share, and still be what is seen there."""
_RIDGE = 0.0025
"""Pull of harmonics towards none, against a weight of one for all views: keeps points that few
views see from swinging, and costs the others little."""


@dataclass(frozen=True, eq=False)
class _View:
    camera: Camera
    """Local frame, reduced."""
    depths: np.ndarray
    """Float32 [H, W], +inf for nothing."""
    pixels: float
    """Of a square of one world unit, frontal, at distance one."""


class SurfaceColour:
    """What surface points look like from the training cameras.

    Cameras whose view of a point is blocked do not count: how the model continues there was never
    trained. What no camera sees takes the colour from straight ahead.

    Args:
        run: The opened run.
        degree: Of the harmonics that ``fit`` gives, 0 to 2.
    """

    def __init__(self, run: Run, degree: int = 0) -> None:
        self.degree = degree
        self._model = run.model
        origin = np.array(run.manifest["origin"])
        names = run.names("train")
        most = min(_MOST_PIXELS, _DEPTH_PIXELS // max(len(names), 1))
        self._views = []
        for name in names:
            whole = run.camera(name)
            camera = whole.downscaled(max(1.0, (whole.width * whole.height / most) ** 0.5))
            camera = camera.recentred(origin)
            self._views.append(_View(camera, _depths(run, camera), whole.fx * whole.fy))

    def __call__(self, position: np.ndarray, normal: np.ndarray, size: float) -> np.ndarray:
        """Return one colour a point, sRGB uint8 [N, 3]; arguments of ``fit``."""
        return self.fit(position, normal, size)[0]

    @torch.inference_mode()
    def fit(
        self, position: np.ndarray, normal: np.ndarray, size: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one colour a point, and its harmonics.

        Args:
            position: Float32 [N, 3], local frame.
            normal: Float32 [N, 3], unit; either side.
            size: World units that a sample stands for.

        Returns:
            sRGB uint8 [N, 3], and float32 [N, (degree + 1)^2, 3]: seen along the unit direction d
            from camera to point, a point's sRGB is 0.5 plus the sum of its rows times
            ``ops.spherical_harmonics(d)``.
        """
        terms = (self.degree + 1) ** 2
        colour = np.zeros((len(position), 3), np.uint8)
        harmonics = np.zeros((len(position), terms, 3), np.float32)
        for first in range(0, len(position), _CHUNK):
            part = slice(first, first + _CHUNK)
            colour[part], harmonics[part] = self._chunk(position[part], normal[part], size)
        return colour, harmonics

    def _chunk(
        self, position: np.ndarray, normal: np.ndarray, size: float
    ) -> tuple[np.ndarray, np.ndarray]:
        model, bands = self._model, self.degree + 1
        points = torch.from_numpy(np.ascontiguousarray(position, np.float32)).to(model.device)
        footprint = torch.full((len(points),), float(size), device=model.device)
        features = model.field.encode(points, footprint)

        def shade(rows: np.ndarray, direction: np.ndarray) -> Tensor:
            picked = torch.from_numpy(rows).to(model.device)
            tensor = torch.from_numpy(np.ascontiguousarray(direction, np.float32))
            colour = model.shader.shade(features[picked], tensor.to(model.device))
            return (colour * (model.settings.photo_range / 255)).clamp(0, 1).cpu()

        # Sums of the normal equations, so that no view's colours have to be kept.
        weights = torch.zeros(len(points), 1)
        total = torch.zeros(len(points), 3)
        left = torch.zeros(len(points), bands**2, bands**2)
        right = torch.zeros(len(points), bands**2, 3)

        def add(views: Sequence[_View], among: np.ndarray) -> None:
            for view in views:
                direction, weight = _seen(view, position[among], normal[among])
                hit = weight > 0
                if not hit.any():
                    continue
                rows, direction = among[hit], direction[hit].astype(np.float32)
                w = torch.from_numpy(weight[hit])[:, None]
                colour = shade(rows, direction)
                weights[rows] += w
                total[rows] += w * colour
                if bands > 1:
                    basis = ops.spherical_harmonics(torch.from_numpy(direction), bands)
                    left[rows] += w[..., None] * basis[:, :, None] * basis[:, None, :]
                    right[rows] += w[..., None] * basis[:, :, None] * (colour - 0.5)[:, None]

        near, far = self._split(position, normal)
        add(near, np.arange(len(points)))
        add(far, np.flatnonzero(weights[:, 0].numpy() == 0))
        unseen = np.flatnonzero(weights[:, 0].numpy() == 0)
        if len(unseen):
            total[unseen] = shade(unseen, -normal[unseen])
            weights[unseen] = 1
        mean = total / weights
        harmonics = torch.zeros(len(points), bands**2, 3)
        constant = ops.spherical_harmonics(torch.zeros(1, 3), 1)
        harmonics[:, 0] = (mean - 0.5) / constant
        if bands > 1:
            pull = torch.full((bands**2,), _RIDGE)
            pull[0] = _RIDGE * 1e-3
            left = left / weights[..., None] + torch.diag(pull)
            solved = torch.linalg.solve(left.double(), (right / weights[..., None]).double())
            seen = torch.ones(len(points), dtype=torch.bool)
            seen[unseen] = False
            harmonics[seen] = solved.float()[seen]
        return (mean * 255 + 0.5).to(torch.uint8).numpy(), harmonics.numpy()

    def _split(self, position: np.ndarray, normal: np.ndarray) -> tuple[list[_View], list[_View]]:
        """Return the views that see the points largest, and the rest."""
        step = max(1, len(position) // _PROBES)
        probe, ahead = position[::step], normal[::step]
        seen = np.stack([_seen(view, probe, ahead)[1] for view in self._views])
        rank = np.argsort(np.argsort(-seen, axis=0, kind="stable"), axis=0, kind="stable")
        taken = ((seen > 0) & (rank < _VIEWS)).any(1)
        near = [view for view, yes in zip(self._views, taken, strict=True) if yes]
        return near, [view for view, yes in zip(self._views, taken, strict=True) if not yes]


def _depths(run: Run, camera: Camera) -> np.ndarray:
    """Return what a camera of the local frame sees: depth float32 [H, W], +inf for nothing."""
    packed = torch.from_numpy(camera.packed()).to(run.device)
    depths = np.full((camera.height, camera.width), np.inf, np.float32)
    for top in range(0, camera.height, _ROWS):
        rect = (0, top, camera.width, min(_ROWS, camera.height - top))
        samples, _ = build_gbuffer(run.surface, packed, camera.width, camera.height, rect)
        depths[top : top + _ROWS].reshape(-1)[samples.pixel_index.cpu()] = samples.depth.cpu()
    return depths


def _seen(view: _View, position: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit directions from a view to points, and the photo's pixels a unit area."""
    camera = view.camera
    away = position - camera.position
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    direction = away / np.maximum(distance, 1e-12)
    pixel, depth = camera.project(position)
    with np.errstate(invalid="ignore"):
        inside = (depth > 0) & (pixel >= 0).all(1) & (pixel < (camera.width, camera.height)).all(1)
    column, row = np.where(inside[:, None], np.nan_to_num(pixel), 0).astype(int).T
    inside &= depth < view.depths[row, column] * (1 + _TOLERANCE)
    frontal = np.abs((direction * normal).sum(1))
    pixels = view.pixels * frontal / np.maximum(distance[:, 0], 1e-12) ** 2
    return direction, np.where(inside, pixels, 0.0).astype(np.float32)
