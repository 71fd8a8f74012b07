"""Peak signal-to-noise ratio of a render."""

from __future__ import annotations

import math

import numpy as np

from xscale.errors import ShapeError

# A colour fit that is exact on paper leaves squares around 1e-30; no two different 8-bit pictures
# under 10^17 pixels come below this.
_ROUNDING = 1e-22


def psnr(render: np.ndarray, photo: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    """Return -10 log10 of the mean squared error over pixels and channels, in dB.

    Args:
        render: float64 [H, W, 3] in [0, 1].
        photo: The same.
        weight: bool [H, W], true where a pixel counts; None counts all.

    Returns:
        Decibels; ``inf`` for pictures that differ by rounding at most; None if no pixel counts.

    Raises:
        ShapeError: The pictures differ in shape.
    """
    if render.shape != photo.shape:
        raise ShapeError(f"render is {render.shape}, photo {photo.shape}: they must be equal")
    squared = render - photo
    squared *= squared
    if weight is not None:
        squared = squared[weight]
    if not squared.size:
        return None
    error = float(squared.mean(dtype=np.float64))
    return math.inf if error < _ROUNDING else -10.0 * math.log10(error)
