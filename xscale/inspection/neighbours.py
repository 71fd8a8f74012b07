"""Photos against their neighbours: through the right mesh, one photo laid on another fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xscale.inspection.looks import Look
from xscale.inspection.shift import best_shift, whitened

_PATCH = 3 / 16
_REACH = 0.055
"""Edge of a patch and how far it is searched, as shares of the picture's longer side."""
NEIGHBOURS = 4
_SAMPLES = 400
_SAME_DEPTH = 0.02
_SURE = 0.5
_LEAST_PATCHES = 3
_FLAT = 0.015
_MOSTLY = 0.6


class Pair(NamedTuple):
    """One photo laid on another through the mesh."""

    first: int
    second: int
    shift: float | None
    """Median distance in small pixels by which patches are off; None where too few match."""
    matched: float
    """Share of the patches that match somewhere."""
    patches: int = 0
    """Patches with enough contrast to be compared."""
    marks: np.ndarray | None = None
    """float64 [M, 10], of each patch that matches: its pixels in the first and the second photo,
    and the mesh's position and normal there (local frame)."""


def pairs_of(looks: list[Look], most: int = NEIGHBOURS) -> list[Pair]:
    """Lay on every photo those that see the same from nearby.

    Args:
        looks: At the photos.
        most: Neighbours of a photo.
    """
    pairs = []
    for first, others in enumerate(_neighbours(looks, most)):
        for second in others:
            pair = _pair(looks, first, second)
            if pair is not None:
                pairs.append(pair)
    return pairs


def best_of(pairs: list[Pair], photo: int) -> tuple[float | None, float | None]:
    """Return how far off a photo is among its neighbours, and how many patches match.

    A photo is judged by its better pairs: it is not to blame for a neighbour that is wrong.
    """
    own = [pair for pair in pairs if photo in (pair.first, pair.second)]
    shifts = [pair.shift for pair in own if pair.shift is not None]
    matched = [pair.matched for pair in own]
    return (
        float(np.percentile(shifts, 30)) if shifts else None,
        float(np.percentile(matched, 70)) if matched else None,
    )


def laid_on(looks: list[Look], first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Return photo ``second`` as camera ``first`` sees it on the mesh, and where it is known.

    Returns:
        Grey float [H, W] and bool [H, W].
    """
    a, b = looks[first], looks[second]
    height, width = b.depth.shape
    picture, known = np.zeros(a.depth.shape), np.zeros(a.depth.shape, bool)
    pixel, depth = b.camera.project(a.position[a.covered])
    inside = (depth > 0) & ((pixel >= 0.5) & (pixel <= (width - 0.5, height - 0.5))).all(axis=1)
    at = np.where(inside[:, None], pixel, 1.0) - 0.5
    column, row = np.floor(at).astype(np.int64).T
    column, row = column.clip(0, width - 2), row.clip(0, height - 2)
    x, y = at[:, 0] - column, at[:, 1] - row
    nearest = b.depth[(row + (y > 0.5)), (column + (x > 0.5))]
    grey, total = b.grey, 0.0
    for down in (0, 1):
        for right in (0, 1):
            weight = (y if down else 1 - y) * (x if right else 1 - x)
            total = total + weight * grey[row + down, column + right]
    picture[a.covered] = total
    known[a.covered] = (
        inside & (np.abs(nearest - depth) < _SAME_DEPTH * depth) & b.usable[row, column]
    )
    return picture, known & a.usable


def _neighbours(looks: list[Look], most: int) -> list[list[int]]:
    """Choose for each photo those that see most of the same from a similar side."""
    chosen = []
    for first, look in enumerate(looks):
        points = look.position[look.covered]
        points = points[:: max(1, len(points) // _SAMPLES)]
        worth = np.zeros(len(looks))
        for second, other in enumerate(looks):
            if second == first or not len(points):
                continue
            pixel, depth = other.camera.project(points)
            size = (other.camera.width, other.camera.height)
            seen = (depth > 0) & ((pixel >= 0) & (pixel < size)).all(axis=1)
            worth[second] = seen.mean() * _alike(look, other, points)
        best = np.argsort(-worth, kind="stable")[:most]
        chosen.append([int(k) for k in best if worth[k] > 0.05])
    return chosen


def _alike(a: Look, b: Look, points: np.ndarray) -> float:
    """Weigh down views from another side or another distance."""
    rays = [points - look.camera.position for look in (a, b)]
    lengths = [np.linalg.norm(r, axis=1) for r in rays]
    cosine = (rays[0] * rays[1]).sum(1) / np.maximum(lengths[0] * lengths[1], 1e-30)
    angle = float(np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))))
    fine, other = np.median(lengths[0]) / a.camera.fx, np.median(lengths[1]) / b.camera.fx
    ratio = float(np.log2(max(fine, 1e-30) / max(other, 1e-30)))
    return float(np.exp(-((angle / 25) ** 2) - ratio**2))


def _pair(looks: list[Look], first: int, second: int) -> Pair | None:
    laid, known = laid_on(looks, first, second)
    if known.mean() < 0.05:
        return None
    laid[~known] = laid[known].mean()
    height, width = known.shape
    patch, reach = (max(4, round(share * max(height, width))) for share in (_PATCH, _REACH))
    template = whitened(laid)
    picture = np.pad(whitened(looks[first].grey), reach)
    lengths, marks, tried = [], [], 0
    for top in range(0, max(1, height - patch // 2), patch):
        for left in range(0, max(1, width - patch // 2), patch):
            at = np.s_[top : top + patch, left : left + patch]
            mask = known[at]
            if mask.mean() < _MOSTLY or laid[at][mask].std() < _FLAT:
                continue
            tried += 1
            tall, wide = mask.shape
            around = picture[top : top + tall + 2 * reach, left : left + wide + 2 * reach]
            found = best_shift(template[at], mask, around, reach)
            if found is not None and found.score > _SURE:
                lengths.append(found.length)
                middle = (top + tall // 2, left + wide // 2)
                if known[middle]:
                    marks.append((*middle, found.x, found.y))
    if not tried:
        return None
    enough = len(lengths) >= _LEAST_PATCHES
    return Pair(
        first,
        second,
        float(np.median(lengths)) if enough else None,
        len(lengths) / tried,
        tried,
        _marks(looks[first], looks[second], marks),
    )


def _marks(first: Look, second: Look, found: list[tuple[float, ...]]) -> np.ndarray:
    """Return the rows of :attr:`Pair.marks`."""
    if not found:
        return np.zeros((0, 10))
    row, column, x, y = np.array(found).T
    place = row.astype(np.int64), column.astype(np.int64)
    at = first.position[place].astype(np.float64)
    seen = np.column_stack([column + 0.5 + x, row + 0.5 + y])
    return np.column_stack([seen, second.camera.project(at)[0], at, first.normal[place]])
