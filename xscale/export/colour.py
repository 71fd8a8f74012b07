"""One colour for a surface point: the mean of how the training cameras see it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xscale.geometry.camera import Camera
from xscale.render.run import Run

_CHUNK = 1 << 17
_MOST_CAMERAS = 12


class SurfaceColour:
    """Colours that do not depend on the viewer.

    Where several cameras look at a point, their colours are averaged, weighted by how frontal and
    how near they are; where none does, the colour is what is seen from straight ahead.

    Args:
        run: The opened run.
    """

    def __init__(self, run: Run) -> None:
        self._model = run.model
        names = run.names("train")
        step = max(1, len(names) // _MOST_CAMERAS)
        origin = np.array(run.manifest["origin"])
        self._cameras = [run.camera(name).recentred(origin) for name in names[::step]]

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
        for camera in self._cameras:
            direction, weight = _view(camera, position, normal)
            if weight.any():
                weight = torch.from_numpy(weight)[:, None]
                total += weight * shade(direction)
                weights += weight
        if (weights == 0).any():
            total = torch.where(weights > 0, total, shade(-normal))
        mean = total / torch.where(weights > 0, weights, 1.0)
        return (mean * 255 + 0.5).to(torch.uint8).numpy()


def _view(
    camera: Camera, position: np.ndarray, normal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit directions from a camera to points, and how much its view counts."""
    away = position - camera.position
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    direction = away / np.maximum(distance, 1e-12)
    pixel, depth = camera.project(position)
    with np.errstate(invalid="ignore"):
        inside = (depth > 0) & (pixel >= 0).all(1) & (pixel < (camera.width, camera.height)).all(1)
    frontal = np.abs((direction * normal).sum(1))
    weight = np.where(inside, frontal**2 / np.maximum(distance[:, 0], 1e-12) ** 2, 0.0)
    return direction, weight.astype(np.float32)
