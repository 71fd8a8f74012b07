"""Points that photos alone ask for: patches of one photo found in others along their rays.

Cameras and photos decide, no mesh does. A patch with contrast is tried at many distances along its
ray; where several other photos show it there, and nowhere else as well, it is a point of the
surface. Source: the plane sweep of R. Collins, "A space-sweep approach to true multi-image
matching", CVPR 1996, with windows that face the camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xscale.errors import XscaleError
from xscale.geometry.camera import Camera

_COARSE, _FINE = 160, 320
"""Pixels along a photo in which patches are found, and in which they are placed."""
_BASES = 8
_TURNED = 40.0
"""Degrees between the directions in which photos look, at most."""
_OTHERS = (0, 1, 3, 6)
"""Neighbours that a photo is compared with, by their order of distance."""
_GRID = 14
"""Cells along a photo; each gives the patch with most contrast in it."""
_REACH, _STRIDE = 2, 2
"""Half the samples along a patch, and pixels between them."""
_NEAREST, _FARTHEST = 0.7, 60.0
"""Distances that are tried, as multiples of the distance between the photos."""
_STEP = 1.5
"""Pixels by which a patch moves from one distance to the next in the farthest photo."""
_MOST_STEPS = 240
_CONTRAST = 0.02
"""Least standard deviation of a patch's brightness, in [0, 1]."""
_LIKE, _LIKE_ONE = 0.8, 0.9
"""Correlation of a patch that is found: the mean of the best two photos, or of a single one."""
_MARGIN = 0.06
"""How much less any other distance along the ray correlates."""
_APART = 5
"""Steps from which another distance is another place."""
_ERROR_PIXELS = 0.2
_MOST_ERROR = 0.03
"""Error of a distance that is still used, as a share of it."""

Small = tuple[np.ndarray, np.ndarray]
"""Brightness float32 [H, W] in [0, 1], and where it is known, bool [H, W]."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of the surface, and how far each was seen from."""

    position: np.ndarray
    """float64 [N, 3], in the cameras' frame."""
    distance: np.ndarray
    """float64 [N], from the photo that was asked."""
    tried: int = 0
    """Patches that were looked for."""

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.position)

    @property
    def share(self) -> float:
        """Share of the patches that were found."""
        return len(self) / self.tried if self.tried else 0.0


def seen_points(
    cameras: Sequence[Camera], picture: Callable[[int, int], Small], bases: int = _BASES
) -> Points:
    """Find points of the surface from photos and cameras.

    Args:
        cameras: Of all photos.
        picture: Returns photo ``k`` at ``n`` pixels along its longer side.
        bases: Photos whose patches are looked for.
    """
    found, distances, tried = [], [], 0
    for base in dict.fromkeys(k * len(cameras) // bases for k in range(bases)):
        others = _others(cameras, base)
        if not others:
            continue
        try:
            position, distance, count = _sweep(cameras, base, others, picture)
        except XscaleError:
            continue  # damaged photos are reported where all are decoded
        found.append(position)
        distances.append(distance)
        tried += count
    if not found:
        return Points(np.zeros((0, 3)), np.zeros(0))
    return Points(np.concatenate(found), np.concatenate(distances), tried)


def _others(cameras: Sequence[Camera], base: int) -> list[int]:
    """Choose photos that look the same way, near and farther."""
    away = np.linalg.norm([c.position - cameras[base].position for c in cameras], axis=1)
    turned = np.degrees(
        np.arccos(np.clip([c.R[2] @ cameras[base].R[2] for c in cameras], -1.0, 1.0))
    )
    usual = float(np.median(away)) or 1.0
    fit = np.flatnonzero((away > 1e-3 * usual) & (turned < _TURNED))
    fit = fit[np.argsort(away[fit], kind="stable")]
    return [int(fit[k]) for k in _OTHERS if k < len(fit)]


def _sweep(
    cameras: Sequence[Camera],
    base: int,
    others: list[int],
    picture: Callable[[int, int], Small],
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return points [N, 3], their distances [N] and the number of patches that were tried."""
    grey, known = picture(base, _COARSE)
    camera = _of(cameras[base], grey)
    centres = _corners(grey, known)
    if not len(centres):
        return np.zeros((0, 3)), np.zeros(0), 0
    away = np.array([np.linalg.norm(cameras[k].position - camera.position) for k in others])
    low, high = 1 / (_FARTHEST * np.median(away)), 1 / (_NEAREST * np.median(away))
    steps = int(np.clip((high - low) * away.max() * camera.fx / _STEP, 16, _MOST_STEPS))
    inverse = np.linspace(low, high, steps)
    pictures = [picture(k, _COARSE)[0] for k in others]
    likeness = _likeness(camera, grey, centres, np.broadcast_to(inverse, (len(centres), steps)),
                         [_of(cameras[k], p) for k, p in zip(others, pictures, strict=True)],
                         pictures)  # fmt: skip
    best = likeness.argmax(axis=1)
    top = likeness[np.arange(len(best)), best]
    near = np.abs(np.arange(steps) - best[:, None]) < _APART
    rival = np.where(near, -1.0, likeness).max(axis=1)
    sure = (top > _least(others)) & (top - rival > _MARGIN) & (best > 0) & (best < steps - 1)
    centres, start = centres[sure], inverse[best[sure]]
    if not len(centres):
        return np.zeros((0, 3)), np.zeros(0), len(sure)
    at = _finer(cameras, base, others, centres / (camera.width, camera.height), start, inverse,
                picture)  # fmt: skip
    kept = 1 / at[0] * _ERROR_PIXELS / (away.max() * camera.fx) < _MOST_ERROR
    kept &= at[1] > _least(others)
    distance = 1 / at[0][kept]
    rays = camera.rays(centres[kept])
    return camera.position + rays * distance[:, None], distance, len(sure)


def _least(others: list[int]) -> float:
    return _LIKE if len(others) > 1 else _LIKE_ONE


def _finer(
    cameras: Sequence[Camera],
    base: int,
    others: list[int],
    centres: np.ndarray,
    start: np.ndarray,
    inverse: np.ndarray,
    picture: Callable[[int, int], Small],
) -> tuple[np.ndarray, np.ndarray]:
    """Place patches on larger photos, between the steps.

    Args:
        cameras: Of all photos.
        base: The photo.
        others: Those compared with it.
        centres: Shares of the photo's sides, float64 [P, 2].
        start: Inverse distances, float64 [P].
        inverse: The steps.
        picture: As :func:`seen_points` takes it.

    Returns:
        Inverse distances and correlations.
    """
    grey, _ = picture(base, _FINE)
    centres = centres * (grey.shape[1], grey.shape[0])
    pictures = [picture(k, _FINE)[0] for k in others]
    step = (inverse[1] - inverse[0]) / 4
    tries = start[:, None] + step * np.arange(-6, 7)
    likeness = _likeness(_of(cameras[base], grey), grey, centres, np.maximum(tries, 1e-12),
                         [_of(cameras[k], p) for k, p in zip(others, pictures, strict=True)],
                         pictures)  # fmt: skip
    best = likeness.argmax(axis=1).clip(1, tries.shape[1] - 2)
    row = np.arange(len(best))
    before, top, after = (likeness[row, best + s] for s in (-1, 0, 1))
    bend = before - 2 * top + after
    with np.errstate(all="ignore"):
        between = np.where(bend < 0, 0.5 * (before - after) / bend, 0.0).clip(-1, 1)
    return tries[row, best] + between * step, top


def _of(camera: Camera, picture: np.ndarray) -> Camera:
    return camera.scaled(picture.shape[1], picture.shape[0])


def _corners(grey: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the pixels with most contrast, one a cell: float64 [N, 2]."""
    margin = _REACH * _STRIDE + 1
    dy, dx = np.gradient(grey)
    energy = np.where(known, dx**2 + dy**2, 0.0)
    height, width = grey.shape
    side = max(1, max(height, width) // _GRID)
    found = []
    for top in range(margin, height - margin - side + 1, side):
        for left in range(margin, width - margin - side + 1, side):
            cell = energy[top : top + side, left : left + side]
            row, column = np.unravel_index(int(cell.argmax()), cell.shape)
            if cell[row, column] > 0:
                found.append((left + column + 0.5, top + row + 0.5))
    return np.array(found).reshape(-1, 2)


def _likeness(
    camera: Camera,
    grey: np.ndarray,
    centres: np.ndarray,
    inverse: np.ndarray,
    others: list[Camera],
    pictures: list[np.ndarray],
) -> np.ndarray:
    """Correlate patches at inverse distances [P, D] with other photos: float [P, D].

    It is the mean of the best two photos, so that a surface hidden from some is found all the same.
    """
    offsets = np.arange(-_REACH, _REACH + 1) * _STRIDE
    v, u = (grid.reshape(-1) for grid in np.meshgrid(offsets, offsets, indexing="ij"))
    patch = _normal(_sampled(grey, centres[:, :1] + u, centres[:, 1:] + v))
    flat = np.isnan(patch[:, 0])
    shape = inverse.shape
    # A window moves nearly as its centre and two of its edges do.
    spots = []
    for step in ((0, 0), (_STRIDE, 0), (0, _STRIDE)):
        rays = camera.rays(centres + step)
        spots.append((camera.position + rays[:, None] / inverse[..., None]).reshape(-1, 3))
    found = np.full((len(others), *shape), -1.0, np.float32)
    for k, (other, picture) in enumerate(zip(others, pictures, strict=True)):
        with np.errstate(all="ignore"):
            at, right, down = (other.project(spot)[0].reshape(*shape, 2) for spot in spots)
            x = at[..., :1] + (right - at)[..., :1] * u / _STRIDE
            x = x + (down - at)[..., :1] * v / _STRIDE
            y = at[..., 1:] + (right - at)[..., 1:] * u / _STRIDE
            y = y + (down - at)[..., 1:] * v / _STRIDE
            value = _normal(_sampled(picture, x, y))
            like = (value * patch[:, None]).sum(axis=-1)
        found[k] = np.where(np.isnan(like) | flat[:, None], -1.0, like)
    found.sort(axis=0)
    return found[-2:].mean(axis=0) if len(others) > 1 else found[0]


def _sampled(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate at pixels; NaN outside."""
    height, width = picture.shape
    x, y = x.astype(np.float32) - np.float32(0.5), y.astype(np.float32) - np.float32(0.5)
    inside = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    column, row = x.astype(np.int32), y.astype(np.int32)
    x, y = x - column, y - row
    at = row * width + column
    flat = picture.reshape(-1)
    value = (1 - y) * ((1 - x) * flat[at] + x * flat[at + 1])
    value += y * ((1 - x) * flat[at + width] + x * flat[at + width + 1])
    return np.where(inside, value, np.float32(np.nan))


def _normal(values: np.ndarray) -> np.ndarray:
    """Take mean and length out of patches, along the last axis; NaN where they are flat."""
    values = values - values.mean(axis=-1, keepdims=True)
    length = np.sqrt((values * values).sum(axis=-1, keepdims=True))
    floor = _CONTRAST * np.sqrt(values.shape[-1])
    return np.where(length > floor, values / np.maximum(length, 1e-12), np.float32(np.nan))
