"""Scores against scale: pictures averaged over blocks, and pixels grouped by their footprint.

All are ``_covered_cc``: covered pixels after one affine colour fit. The footprint of a pixel is its
size on the surface; an octave is a range of footprints from one power of two to the next.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from xscale.metrics.lpips import unit_range
from xscale.metrics.measures import Models, Pair, Score, metrics_wanted
from xscale.metrics.ssim import RADIUS, ssim_map
from xscale.metrics.variants import colour_fitted

SUFFIX = "_covered_cc"
DOWNSCALES = (2, 4, 8)
"""Sides of the blocks that are averaged; 1 is the score of the whole picture."""


class Octave(NamedTuple):
    """Sums over the covered pixels whose footprints are within an octave."""

    pixels: int
    squares: float
    """Squared differences, summed over pixels and channels."""
    ssim_pixels: int
    """Pixels that are not among the picture's outer 5."""
    similarity: float

    def scores(self) -> dict[str, Score]:
        """Return what a scores file holds of an octave."""
        error = self.squares / (3 * self.pixels)
        return {
            "pixels": self.pixels,
            f"psnr{SUFFIX}": -10 * math.log10(error) if error > 0 else "inf",
            f"ssim{SUFFIX}": self.similarity / self.ssim_pixels if self.ssim_pixels else None,
        }


def downscaled_scores(
    render: np.ndarray,
    photo: np.ndarray,
    coverage: np.ndarray,
    models: Models,
    extras: Collection[str] = (),
) -> dict[int, dict[str, Score]]:
    """Score both pictures after averaging over blocks of pixels, not rounded.

    Args:
        render: uint8 [H, W, 3].
        photo: uint8 [H, W, 3].
        coverage: bool [H, W]; a block counts where all its pixels are covered.
        models: What metrics need.
        extras: Metrics on request.

    Returns:
        Scores by the blocks' side; None where no block is covered or the picture is too small.
    """
    fitted, target = colour_fitted(render, photo, coverage), unit_range(photo)
    found: dict[int, dict[str, Score]] = {}
    for side in DOWNSCALES:
        metrics = metrics_wanted(extras)
        found[side] = {metric.name + SUFFIX: None for metric in metrics}
        if min(photo.shape[:2]) < side:
            continue
        small, whole = _averaged(fitted, side), _averaged(target, side)
        weight = _averaged(coverage[:, :, None].astype(np.float32), side)[:, :, 0] == 1
        if not weight.any():
            continue
        filled = np.where(weight[:, :, None], small, whole)
        pair = Pair(small, filled, whole, weight)
        for metric in metrics:
            found[side][metric.name + SUFFIX] = metric.measure([pair], models)[0]
    return found


def _averaged(picture: np.ndarray, side: int) -> np.ndarray:
    """Return means of blocks of pixels; a rest at the edges is left out."""
    height, width = (n // side for n in picture.shape[:2])
    blocks = picture[: height * side, : width * side].reshape(height, side, width, side, -1)
    return blocks.mean(axis=(1, 3))


def octaves(
    render: np.ndarray, photo: np.ndarray, coverage: np.ndarray, footprint: np.ndarray
) -> dict[int, Octave]:
    """Sum errors by octave.

    Args:
        render: uint8 [H, W, 3].
        photo: uint8 [H, W, 3].
        coverage: bool [H, W].
        footprint: float [H, W], sizes of pixels on the surface; not finite where there is none.

    Returns:
        Sums by octave: k holds footprints from 2^k to 2^(k + 1).
    """
    usable = coverage & np.isfinite(footprint) & (footprint > 0)
    if not usable.any():
        return {}
    fitted, target = colour_fitted(render, photo, coverage), unit_range(photo)
    filled = np.where(coverage[:, :, None], fitted, target)
    squares = ((filled - target) ** 2).sum(axis=2)
    similarity = ssim_map(filled, target)
    inner = usable[RADIUS:-RADIUS, RADIUS:-RADIUS]
    number = np.zeros(footprint.shape, np.int32)
    number[usable] = np.floor(np.log2(footprint[usable])).astype(np.int32)
    numbers = number[RADIUS:-RADIUS, RADIUS:-RADIUS]
    found = {}
    for k in np.unique(number[usable]).tolist():
        here, inside = usable & (number == k), inner & (numbers == k)
        sums = float(squares[here].sum()), float(similarity[inside].sum()) if inside.size else 0.0
        found[k] = Octave(int(here.sum()), sums[0], int(inside.sum()), sums[1])
    return found


def summed(photos: Iterable[Mapping[int, Octave]]) -> dict[int, Octave]:
    """Add the octaves of photos: their scores are those of all pixels together."""
    totals: dict[int, np.ndarray] = {}
    for photo in photos:
        for k, octave in photo.items():
            totals[k] = totals.get(k, np.zeros(4)) + np.array(octave)
    return {
        k: Octave(int(t[0]), float(t[1]), int(t[2]), float(t[3])) for k, t in sorted(totals.items())
    }


def scale_report(
    blocks: Mapping[str, Mapping[int, Mapping[str, Score]]],
    sums: Mapping[str, Mapping[int, Octave]],
    complete: bool,
) -> dict[str, Any]:
    """Return the part of a scores file on scales.

    Args:
        blocks: ``downscaled_scores`` by photo.
        sums: ``octaves`` by photo.
        complete: Whether every test photo has a picture; means are null otherwise.
    """
    downscale = {}
    for side in DOWNSCALES if complete and blocks else ():
        rows = [photo[side] for photo in blocks.values()]
        downscale[str(side)] = {name: _mean([row[name] for row in rows]) for name in rows[0]}
    pooled = summed(sums.values()) if complete else {}
    return {
        "downscale": {
            "mean": downscale,
            "photos": {n: {str(k): dict(v) for k, v in b.items()} for n, b in blocks.items()},
        },
        "octaves": {
            "all": {str(k): octave.scores() for k, octave in pooled.items()},
            "photos": {
                n: {str(k): octave.scores() for k, octave in s.items()} for n, s in sums.items()
            },
        },
    }


def _mean(values: list[Score]) -> Score:
    numbers = [math.inf if v == "inf" else v for v in values if v is not None]
    mean = math.fsum(numbers) / len(numbers) if numbers else None
    return "inf" if mean == math.inf else mean
