"""How a photo's camera must move for the model's picture to lie on the photo.

Direct alignment: the photo is looked up where the moved camera sees the surface points of the
model's picture, and the differences are driven down by Gauss-Newton steps with the slope of the
model's picture, which all photos made together (the inverse compositional rule of Baker and
Matthews, "Lucas-Kanade 20 Years On", 2004). No gradient of the model is needed, so that it serves
every encoding, and errors larger than the finest cells are found as well as small ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xscale.geometry.adjust import NUMBERS, POSE, adjusted
from xscale.geometry.camera import Camera

_LEVELS = ((7, 6), (1, 6))
"""Edge of the box that both pictures are blurred with, and Gauss-Newton steps: coarse, fine."""
_EDGE = 0.02
"""Depths of neighbours that differ by more than this share belong to different surfaces."""
_LEAST = 500
"""Pixels below which nothing is concluded about a camera."""
_MOST = 1 << 14
"""Pixels that are looked at, those with much slope: they tell where a picture lies."""
CORRELATED = 16
"""Pixels that count as one measurement: errors of neighbours are alike."""
_SCATTER = 0.01
"""Least difference between photo and model that is taken for chance, grey from 0 to 1."""
_REWEIGHTED = 3
"""Fits of brightness and contrast, each with the weights that the one before gave."""
_SETTLED = 0.01
"""Pixels by which a step moves a picture when there is nothing left to gain."""
_STEP = 1e-5
"""Step of the numeric derivatives, in radians or shares of the depth."""

_PARTS = 8
"""Parts along each edge of a picture; what pulls one of them is taken for independent of what pulls
the others."""


class Normal(NamedTuple):
    """Normal equations of a weighted squared error."""

    information: np.ndarray
    """float64 [9, 9], its curvature, in units of its own scatter."""
    slope: np.ndarray
    """float64 [9]."""
    error: float
    """A robust size of the error."""
    pulls: np.ndarray
    """float64 [N, 9], each pixel's part of the slope."""


@dataclass(frozen=True)
class Template:
    """The model's picture of a photo, and the photo, at one size."""

    camera: Camera
    """As the scene has it, in the frame of ``position``, at this size."""
    model: Tensor
    """Float32 [H, W], grey, under the photo's own exposure."""
    photo: Tensor
    """Float32 [H, W], grey, the same range."""
    position: Tensor
    """Float32 [H, W, 3], surface points."""
    depth: Tensor
    """Float32 [H, W]."""
    usable: Tensor
    """Bool [H, W], covered and not masked."""
    face: Tensor | None = None
    """Int32 [H, W], where the mesh may move."""


@dataclass(frozen=True)
class Aligned:
    """Evidence of one photo about its camera; numbers are those of ``xscale.geometry.adjust``."""

    numbers: np.ndarray
    """float64 [9], the adjustment after the pose was moved."""
    information: np.ndarray
    """float64 [9, 9], the squared error's curvature there, in units of its own scatter."""
    slope: np.ndarray
    """float64 [9], its slope there."""
    moves: np.ndarray
    """float64 [9], pixels (root mean square) that a unit of each number moves the picture by."""
    jacobian: np.ndarray
    """float32 [n, 2, 9], of some of its pixels, for lengths of whole adjustments."""
    chance: float
    """Pixels (root mean square) by which the pose may be off by chance: by how unlike parts of the
    picture pull at it."""

    def pixels(self, numbers: np.ndarray) -> float:
        """Return by how many pixels (root mean square) an adjustment [9] moves the picture."""
        return float(np.sqrt(((self.jacobian @ numbers) ** 2).sum(1).mean()))


def align(template: Template, numbers: np.ndarray, prior: float) -> Aligned | None:
    """Move a camera's pose so that the model's picture lies on the photo.

    Args:
        template: Made with the camera as adjusted by ``numbers``.
        numbers: float64 [9], the adjustment so far.
        prior: Pixels of this size by which cameras are expected to be off.

    Returns:
        None where too few pixels are usable.
    """
    filled = torch.where(template.usable, template.model, template.photo)
    usable = inside_surfaces(template)
    rows, columns = usable.nonzero(as_tuple=True)
    if len(rows) < _LEAST:
        return None
    rows, columns = _telling(gradient(filled), rows, columns)
    points = template.position[rows, columns].double().numpy()
    jacobian = _jacobian(template.camera, numbers, points, float(template.depth[usable].median()))
    kept = np.isfinite(jacobian).all((1, 2))
    rows, columns, points, jacobian = rows[kept], columns[kept], points[kept], jacobian[kept]
    if len(points) < _LEAST:
        return None
    moves = np.sqrt((jacobian.astype(np.float64) ** 2).sum(1).mean(0))
    pull = np.diag((moves / prior) ** 2)
    for edge, steps in _LEVELS:
        model, photo = blurred(filled, edge), blurred(template.photo, edge)
        slopes = gradient(model)[rows, columns].numpy()
        across = np.einsum("nk,nkp->np", slopes, jacobian).astype(np.float64)
        there = model[rows, columns].double().numpy()

        def normal(
            at: np.ndarray, photo: Tensor = photo, across: np.ndarray = across,
            there: np.ndarray = there,
        ) -> Normal:  # fmt: skip
            pixel, _ = adjusted(template.camera, at).project(points)
            return _normal_equations(across, there, looked_up(photo, pixel))

        numbers = _descend(normal, numbers, pull, steps, moves)
    found = normal(numbers)
    some = jacobian[:: max(1, len(jacobian) // 1000)]
    parts = rows * _PARTS // usable.shape[0] * _PARTS + columns * _PARTS // usable.shape[1]
    chance = _chance(found.information + pull, found.pulls, parts.numpy(), some)
    return Aligned(numbers, found.information, found.slope, moves, some, chance)


def _descend(
    normal: Callable[[np.ndarray], Normal],
    now: np.ndarray,
    pull: np.ndarray,
    steps: int,
    moves: np.ndarray,
) -> np.ndarray:
    """Take Gauss-Newton steps of the pose as long as the error falls."""
    pose = slice(POSE)
    here = normal(now)
    for _ in range(steps):
        curve = (here.information + pull)[pose, pose]
        step = np.linalg.solve(curve, (here.slope + pull @ now)[pose])
        if np.linalg.norm(step * moves[pose]) < _SETTLED:
            break
        then = now.copy()
        then[pose] -= step
        there = normal(then)
        if not there.error < here.error:
            break
        now, here = then, there
    return now


def _chance(curve: np.ndarray, pulls: np.ndarray, parts: np.ndarray, some: np.ndarray) -> float:
    """Return by how many pixels a pose may be off by chance, see ``Aligned.chance``."""
    each = np.stack([np.bincount(parts, pulls[:, k], _PARTS**2) for k in range(POSE)], 1)
    each = each[np.unique(parts)]
    moved = np.linalg.solve(curve[:POSE, :POSE], (each - each.mean(0)).T)
    return float(np.sqrt(((some[:, :, :POSE] @ moved) ** 2).sum((1, 2)).mean()))


def _normal_equations(across: np.ndarray, there: np.ndarray, seen: np.ndarray) -> Normal:
    """Normal equations from changes [N, 9], the model's values [N] and the photo's, NaN outside.

    Differences that brightness and contrast explain count for nothing; large ones count little.
    """
    inside = np.isfinite(seen)
    pulls = np.zeros((len(seen), NUMBERS))
    across, there, error = across[inside], there[inside], (seen - there)[inside]
    if len(error) < _LEAST:
        return Normal(np.zeros((NUMBERS, NUMBERS)), np.zeros(NUMBERS), np.inf, pulls)
    error, weight, scatter, plain = unexplained(there, error)
    heavy = plain * weight[:, None]
    # The two plain columns are projected out of the others too, in the weighted sense.
    across = across - plain @ np.linalg.lstsq(heavy.T @ plain, heavy.T @ across, rcond=1e-9)[0]
    scale = 1 / (scatter**2 * CORRELATED)
    weighted = across * weight[:, None]
    robust = float(np.log1p((error / (2 * scatter)) ** 2).mean() + 2 * np.log(scatter))
    pulls[inside] = scale * weighted * error[:, None]
    return Normal(scale * across.T @ weighted, pulls.sum(0), robust, pulls)


def unexplained(
    there: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Take out of errors [N] what brightness and contrast of the model's values [N] explain.

    Returns:
        What is left, weights that are small where much is, its scatter, and the two columns.
    """
    plain = np.column_stack([np.ones_like(there), there])
    change = np.array([np.median(error), 0.0])
    for _ in range(_REWEIGHTED):
        left = error - plain @ change
        scatter = max(1.4826 * float(np.median(np.abs(left))), _SCATTER)
        weight = 1 / (1 + (left / (2 * scatter)) ** 2)
        heavy = plain * weight[:, None]
        change = np.linalg.lstsq(heavy.T @ plain, heavy.T @ error, rcond=1e-9)[0]
    return error - plain @ change, weight, scatter, plain


def _jacobian(camera: Camera, numbers: np.ndarray, points: np.ndarray, depth: float) -> np.ndarray:
    """Change of pixels by each number of the adjustment, float32 [N, 2, 9]."""
    found = np.empty((len(points), 2, NUMBERS), np.float32)
    for k in range(NUMBERS):
        step = np.zeros(NUMBERS)
        step[k] = _STEP * (depth if 3 <= k < POSE else 1.0)
        ahead, _ = adjusted(camera, numbers + step).project(points)
        behind, _ = adjusted(camera, numbers - step).project(points)
        found[:, :, k] = (ahead - behind) / (2 * step[k])
    return found


def inside_surfaces(template: Template) -> Tensor:
    """Bool [H, W]: usable pixels whose neighbours are usable and on the same surface."""
    usable = template.usable.float()[None, None]
    whole = -functional.max_pool2d(-usable, 3, 1, 1)[0, 0] > 0
    depth = torch.where(template.usable, template.depth, 1.0)[None, None]
    far = functional.max_pool2d(depth, 3, 1, 1)
    near = -functional.max_pool2d(-depth, 3, 1, 1)
    whole &= ((far - near) < _EDGE * near)[0, 0]
    whole[[0, -1]] = False
    whole[:, [0, -1]] = False
    return whole


def _telling(slopes: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Thin pixels out to ``_MOST``: the steeper half of them, or what is left of it, evenly."""
    if len(rows) > _MOST:
        steep = slopes[rows, columns].norm(dim=1)
        least = steep.median() if len(rows) > 2 * _MOST else steep.topk(_MOST).values[-1]
        chosen = (steep >= least).nonzero().squeeze(1)
        chosen = chosen[:: -(-len(chosen) // _MOST)]
        rows, columns = rows[chosen], columns[chosen]
    return rows, columns


def blurred(picture: Tensor, edge: int) -> Tensor:
    """Mean over squares of ``edge`` pixels, an odd number; borders are repeated."""
    if edge == 1:
        return picture
    padded = functional.pad(picture[None, None], [edge // 2] * 4, mode="replicate")
    return functional.avg_pool2d(padded, edge, 1)[0, 0]


def gradient(picture: Tensor) -> Tensor:
    """Central differences along u and v, [H, W, 2]."""
    down, right = torch.gradient(picture)
    return torch.stack([right, down], 2)


def looked_up(picture: Tensor, pixel: np.ndarray) -> np.ndarray:
    """Bilinear values float64 [N] at pixels [N, 2]; NaN outside."""
    size = torch.tensor([picture.shape[1], picture.shape[0]])
    at = torch.from_numpy(pixel)
    inside = ((at >= 0.5) & (at <= size - 0.5)).all(1)
    grid = torch.where(inside[:, None], (2 * at / size - 1).float(), 0.0)[None, None]
    values = functional.grid_sample(picture[None, None], grid, align_corners=False)[0, 0, 0]
    return torch.where(inside, values, torch.nan).double().numpy()
