"""Lenses that bend rays: the rays, and pinhole pictures that show the faces around each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from xscale import ops
from xscale.geometry.camera import Camera

_WIDEST = 1.75
"""Tangent of the angle from the axis up to which one pinhole picture serves."""
_FINER = 2.0
"""Pixels of the pinhole pictures along an edge of the lens's pixel."""
_MARGIN = 3
"""Pixels around the outermost rays."""
_CHUNK = 1 << 16
"""Rays that are made at a time."""
_AXES = (
    np.eye(3),
    np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]),
    np.array([[-1, 0, 0], [0, 1, 0], [0, 0, -1]]),
    np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
    np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
)
"""Rotations to the six sides of a cube around the camera: ahead, right, back, left, up, down."""


@dataclass(frozen=True)
class LensViews:
    """Rays of a bent picture, and the pinhole pictures that its faces are chosen from."""

    rays: np.ndarray
    """Float32 [h, w, 4]: direction in the local frame (z = 1 in the camera's for perspective
    lenses, else unit), square root of the solid angle; zero outside the lens's domain."""
    views: tuple[Camera, ...]
    """Pinhole cameras of the local frame, ``size`` pixels wide and high."""
    size: int


@dataclass(frozen=True)
class _Bent:
    """Rays in the camera's frame, and what covers them; the same for every pose."""

    rays: np.ndarray
    angle: np.ndarray
    sides: tuple[int, ...]
    K: np.ndarray
    size: int


def lens_views(camera: Camera, rect: tuple[int, int, int, int], largest: int) -> LensViews | None:
    """Return what a rectangle's faces are chosen by; None where all of it is outside the lens.

    Args:
        camera: Of the local frame.
        rect: (left, top, width, height).
        largest: Pixels that a picture may be wide and high.
    """
    bent = _bent(camera.packed()[12:].tobytes(), rect, largest)
    if bent is None:
        return None
    rays = np.zeros((*bent.angle.shape, 4), np.float32)
    rays[..., :3] = bent.rays @ camera.R
    rays[..., 3] = bent.angle
    wide = camera.lens.projection.wide
    near = camera.near / 3**0.5 if wide else camera.near
    views = tuple(
        replace(
            camera,
            model="PINHOLE",
            distortion=np.zeros(0),
            width=bent.size,
            height=bent.size,
            K=bent.K,
            R=_AXES[side] @ camera.R,
            t=_AXES[side] @ camera.t,
            near=near,
        )
        for side in bent.sides
    )
    return LensViews(rays, views, bent.size)


@lru_cache(maxsize=4)
def _bent(packed: bytes, rect: tuple[int, int, int, int], largest: int) -> _Bent | None:
    lens = np.zeros(32)
    lens[[0, 4, 8]] = 1
    lens[12:] = np.frombuffer(packed)
    rays, angle = _rays(torch.from_numpy(lens), rect)
    seen = (rays != 0).any(2) & np.isfinite(angle) & (angle > 0)
    if not seen.any():
        return None
    rays, angle = np.where(seen[..., None], rays, 0), np.where(seen, angle, 0)
    inside = rays[seen]
    length = np.linalg.norm(inside, axis=1)
    x, y, z = inside.T
    with np.errstate(divide="ignore", invalid="ignore"):
        tangents = np.stack([x / z, y / z])
    if (z > 0).all() and np.abs(tangents).max() <= _WIDEST:
        low, high = tangents.min(1), tangents.max(1)
        sides, cosine = (0,), z / length
    else:
        low, high = np.full(2, -1.0), np.full(2, 1.0)
        largest_part = np.abs(inside).max(1)
        sides = tuple(i for i, axes in enumerate(_AXES) if _shows(inside @ axes.T))
        cosine = largest_part / length
    focal = float((cosine**1.5 / angle[seen]).max()) * _FINER
    reach = float((high - low).max())
    focal = min(focal, (largest - 2 * _MARGIN - 1) / max(reach, 1e-9))
    size = min(int(np.ceil(focal * reach)) + 2 * _MARGIN, largest)
    K = np.diag([focal, focal, 1.0])
    K[:2, 2] = _MARGIN - focal * low
    return _Bent(rays, angle, sides, K, size)


def _rays(lens: torch.Tensor, rect: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a rectangle's rays [h, w, 3] and the square roots of their solid angles [h, w]."""
    left, top, width, height = rect
    found, angle = np.empty((height, width, 3)), np.empty((height, width))
    step = max(1, _CHUNK // width)
    for begin in range(0, height, step):
        rows = slice(begin, min(begin + step, height))
        v, u = torch.meshgrid(
            top + torch.arange(rows.start, rows.stop).double() + 0.5,
            left + torch.arange(width).double() + 0.5,
            indexing="ij",
        )
        rays, solid = ops.camera_rays(lens, u.reshape(-1), v.reshape(-1))
        found[rows] = rays.numpy().reshape(-1, width, 3)
        angle[rows] = np.sqrt(solid.numpy().reshape(-1, width))
    return found, angle


def _shows(directions: np.ndarray) -> bool:
    """Whether the side of the cube ahead shows one of the directions [N, 3]."""
    ahead = directions[:, 2] * (1 + 1e-6)
    return bool((ahead >= np.abs(directions).max(1)).any())
