"""Structural similarity, Gaussian window, population covariance, in float64.

Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
2004. Equal to scikit-image's with ``gaussian_weights=True, sigma=1.5,
use_sample_covariance=False, data_range=1``, which leaves out the outer 5 pixels as well.
"""

from __future__ import annotations

import math

import numpy as np

from xscale import threads
from xscale.errors import ShapeError

SIGMA = 1.5
RADIUS = 5
C1 = 0.01**2
C2 = 0.03**2
# Rows worked on at a time: what is made of a strip stays in the processor's cache.
_STRIP = 32
_THREADS = 8


def _window() -> list[float]:
    taps = [math.exp(-0.5 * (i / SIGMA) ** 2) for i in range(-RADIUS, RADIUS + 1)]
    return [t / math.fsum(taps) for t in taps]


TAPS = _window()
"""The window along an axis."""


def _blur(picture: np.ndarray, axis: int) -> np.ndarray:
    """Window sum along an axis, only where the window fits: the axis loses 2 * RADIUS entries."""
    length = picture.shape[axis] - 2 * RADIUS
    before = (slice(None),) * axis

    def shifted(start: int) -> np.ndarray:
        return picture[(*before, slice(start, start + length))]

    total = shifted(RADIUS) * TAPS[RADIUS]
    pair = np.empty_like(total)
    for i in range(RADIUS):
        np.add(shifted(i), shifted(2 * RADIUS - i), out=pair)
        pair *= TAPS[i]
        total += pair
    return total


def _strip_map(render: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Similarity of a strip with its margins: [3, h, W] to the channels' mean [h - 10, W - 10]."""
    stack = (render, photo, render * render, photo * photo, render * photo)
    mu_r, mu_p, rr, pp, rp = (_blur(_blur(plane, 1), 2) for plane in stack)
    square_r, square_p, product = mu_r * mu_r, mu_p * mu_p, mu_r * mu_p
    luminance = (2 * product + C1) / (square_r + square_p + C1)
    structure = (2 * (rp - product) + C2) / (rr - square_r + pp - square_p + C2)
    return (luminance * structure).mean(axis=0)


def ssim_map(render: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Return the similarity at every pixel that is not among the outer 5, mean of the channels.

    Args:
        render: float64 [H, W, 3] in [0, 1].
        photo: The same.

    Returns:
        float64 [H - 10, W - 10]; empty for pictures smaller than the window.

    Raises:
        ShapeError: The pictures differ in shape.
    """
    if render.shape != photo.shape:
        raise ShapeError(f"render is {render.shape}, photo {photo.shape}: they must be equal")
    height, width = (max(0, n - 2 * RADIUS) for n in render.shape[:2])
    result = np.empty((height, width))
    if not result.size:
        return result
    first, second = (
        np.ascontiguousarray(p.transpose(2, 0, 1), np.float64) for p in (render, photo)
    )

    def fill(top: int) -> None:
        rows = slice(top, min(top + _STRIP, height) + 2 * RADIUS)
        result[top : top + _STRIP] = _strip_map(first[:, rows], second[:, rows])

    # numpy works outside the interpreter's lock; strips do not overlap.
    with threads.pool("ssim", most=_THREADS) as pool:
        list(pool.map(fill, range(0, height, _STRIP)))
    return result


def mean_over(similarity: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    """Average a map of :func:`ssim_map` over the pixels that count.

    Args:
        similarity: float64 [H - 10, W - 10].
        weight: bool [H, W] of the whole picture; None counts all.

    Returns:
        The mean, or None if no pixel counts.
    """
    if weight is not None:
        similarity = similarity[weight[RADIUS:-RADIUS, RADIUS:-RADIUS]]
    return float(similarity.mean()) if similarity.size else None


def ssim(render: np.ndarray, photo: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    """Return the mean structural similarity; arguments of :func:`ssim_map` and `mean_over`."""
    return mean_over(ssim_map(render, photo), weight)
