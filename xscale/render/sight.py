"""Views of the training cameras: whether and how large a surface point appears in each photo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from xscale.gbuffer.build import build_gbuffer
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera

_MOST_PIXELS = 1 << 21
"""Most pixels of one camera's depth map."""
_ALL_PIXELS = 1 << 27
"""Most pixels of all depth maps together: half a gigabyte."""
_ROWS = 256
_TOLERANCE = 0.005
"""How much deeper than the pixel a point may lie, as a share, and still be what is seen there."""


@dataclass(frozen=True, eq=False)
class Sight:
    """One training camera, and what it sees of the mesh."""

    camera: Camera
    """Local frame, reduced."""
    surface: Surface
    """The mesh."""
    pixels: float
    """Pixels of the photo that a frontal square of one world unit takes at distance one."""

    @cached_property
    def depths(self) -> np.ndarray:
        """Depths that the camera sees, float32 [H, W], +inf for nothing; made when first used."""
        return _depths(self.surface, self.camera)

    def seen(self, position: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the unit directions [N, 3] to points, and the photo's pixels a unit area [N].

        Args:
            position: Float32 [N, 3], local frame.
            normal: Float32 [N, 3], unit; either side.
        """
        camera = self.camera
        away = position - camera.position
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        direction = away / np.maximum(distance, 1e-12)
        frontal = np.abs((direction * normal).sum(1))
        pixels = self.pixels * frontal / np.maximum(distance[:, 0], 1e-12) ** 2
        return direction, np.where(self.sees(position), pixels, 0.0).astype(np.float32)

    def sees(self, position: np.ndarray) -> np.ndarray:
        """Return which local points [N, 3] stand in the picture, nothing before them: bool [N]."""
        camera = self.camera
        pixel, depth = camera.project(position)
        with np.errstate(invalid="ignore"):
            inside = (depth > 0) & (pixel >= 0).all(1)
            inside &= (pixel < (camera.width, camera.height)).all(1)
        column, row = np.where(inside[:, None], np.nan_to_num(pixel), 0).astype(int).T
        return inside & (depth < self.depths[row, column] * (1 + _TOLERANCE))


def training_views(surface: Surface, cameras: list[Camera], origin: np.ndarray) -> list[Sight]:
    """Return what cameras of the world frame see of a surface, at a size that memory bounds."""
    most = min(_MOST_PIXELS, _ALL_PIXELS // max(len(cameras), 1))
    views = []
    for whole in cameras:
        camera = whole.downscaled(max(1.0, (whole.width * whole.height / most) ** 0.5))
        camera = camera.recentred(origin)
        views.append(Sight(camera, surface, whole.fx * whole.fy))
    return views


def count(views: list[Sight], position: Tensor) -> Tensor:
    """Return in how many photos points [N, 3] of the local frame are seen, float32 [N]."""
    points = position.cpu().numpy()
    total = np.zeros(len(points), np.float32)
    for view in views:
        total += view.sees(points)
    return torch.from_numpy(total).to(position.device)


def _depths(surface: Surface, camera: Camera) -> np.ndarray:
    packed = torch.from_numpy(camera.packed()).to(surface.vertices.device)
    # A side that is not surface hides what lies behind it all the same.
    surface = surface.two_sided()
    depths = np.full((camera.height, camera.width), np.inf, np.float32)
    for top in range(0, camera.height, _ROWS):
        rect = (0, top, camera.width, min(_ROWS, camera.height - top))
        samples, _ = build_gbuffer(surface, packed, camera.width, camera.height, rect)
        depths[top : top + _ROWS].reshape(-1)[samples.pixel_index.cpu()] = samples.depth.cpu()
    return depths
