"""One colour for a surface point: the mean of how the training cameras see it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale.gbuffer.build import build_gbuffer
from xscale.geometry.camera import Camera
from xscale.render.run import Run

_CHUNK = 1 << 17
_MOST_CAMERAS = 12
_MOST_PIXELS = 1 << 21
"""Of a camera, when it is asked what it sees."""
_ROWS = 256
_TOLERANCE = 0.005
"""How much deeper than the pixel a point may lie, as a share, and still be what is seen there."""


class SurfaceColour:
    """Colours that do not depend on the viewer.

    Where several cameras see a point, their colours are averaged, weighted by how frontal and how
    near they are; where none does, the colour is what is seen from straight ahead. Cameras whose
    view of the point is blocked do not count: how the model continues there was never trained.

    Args:
        run: The opened run.
    """

    def __init__(self, run: Run) -> None:
        self._model = run.model
        names = run.names("train")
        step = max(1, len(names) // _MOST_CAMERAS)
        origin = np.array(run.manifest["origin"])
        self._views = []
        for name in names[::step]:
            camera = run.camera(name)
            camera = camera.downscaled(
                max(1.0, (camera.width * camera.height / _MOST_PIXELS) ** 0.5)
            )
            camera = camera.recentred(origin)
            self._views.append((camera, _depths(run, camera)))

    @torch.inference_mode()
    def __call__(self, position: np.ndarray, normal: np.ndarray, size: float) -> np.ndarray:
        """Return colours.

        Args:
            position: Float32 [N, 3], local frame.
            normal: Float32 [N, 3], unit; either side.
            size: World units that a sample stands for.

        Returns:
            sRGB uint8 [N, 3].
        """
        parts = [
            self._chunk(position[i : i + _CHUNK], normal[i : i + _CHUNK], size)
            for i in range(0, len(position), _CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, 3), np.uint8)

    def _chunk(self, position: np.ndarray, normal: np.ndarray, size: float) -> np.ndarray:
        model = self._model
        points = torch.from_numpy(np.ascontiguousarray(position, np.float32)).to(model.device)
        footprint = torch.full((len(points),), float(size), device=model.device)
        features = model.field.encode(points, footprint)

        def shade(direction: np.ndarray) -> Tensor:
            tensor = torch.from_numpy(np.ascontiguousarray(direction, np.float32))
            colour = model.shader.shade(features, tensor.to(model.device))
            return (colour * (model.settings.photo_range / 255)).clamp(0, 1).cpu()

        total = torch.zeros(len(points), 3)
        weights = torch.zeros(len(points), 1)
        for camera, depths in self._views:
            direction, weight = _view(camera, depths, position, normal)
            if weight.any():
                weight = torch.from_numpy(weight)[:, None]
                total += weight * shade(direction)
                weights += weight
        if (weights == 0).any():
            total = torch.where(weights > 0, total, shade(-normal))
        mean = total / torch.where(weights > 0, weights, 1.0)
        return (mean * 255 + 0.5).to(torch.uint8).numpy()


def _depths(run: Run, camera: Camera) -> np.ndarray:
    """Return what a camera of the local frame sees: depth float32 [H, W], +inf for nothing."""
    packed = torch.from_numpy(camera.packed()).to(run.device)
    depths = np.full((camera.height, camera.width), np.inf, np.float32)
    for top in range(0, camera.height, _ROWS):
        rect = (0, top, camera.width, min(_ROWS, camera.height - top))
        samples, _ = build_gbuffer(run.surface, packed, camera.width, camera.height, rect)
        depths[top : top + _ROWS].reshape(-1)[samples.pixel_index.cpu()] = samples.depth.cpu()
    return depths


def _view(
    camera: Camera, depths: np.ndarray, position: np.ndarray, normal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit directions from a camera to points, and how much its view counts."""
    away = position - camera.position
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    direction = away / np.maximum(distance, 1e-12)
    pixel, depth = camera.project(position)
    with np.errstate(invalid="ignore"):
        inside = (depth > 0) & (pixel >= 0).all(1) & (pixel < (camera.width, camera.height)).all(1)
    column, row = np.where(inside[:, None], np.nan_to_num(pixel), 0).astype(int).T
    inside &= depth < depths[row, column] * (1 + _TOLERANCE)
    frontal = np.abs((direction * normal).sum(1))
    weight = np.where(inside, frontal**2 / np.maximum(distance[:, 0], 1e-12) ** 2, 0.0)
    return direction, weight.astype(np.float32)
