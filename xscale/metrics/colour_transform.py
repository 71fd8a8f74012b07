"""The exposure-neutral comparison: one affine colour map per photo, fitted before scoring."""

from __future__ import annotations

import numpy as np

# Pixels reduced to a small triangle at a time; bounds the memory for gigapixel pictures.
_CHUNK = 1 << 18


def fit_colour_transform(
    render: np.ndarray, photo: np.ndarray, weight: np.ndarray
) -> np.ndarray | None:
    """Fit the affine map from a render's colours to its photo's, by least squares.

    The minimum-norm solution where the colours do not determine it (all grey, one colour, fewer
    than four); singular values below ``eps * pixels`` of the largest count as zero, as in
    ``numpy.linalg.lstsq``.

    Args:
        render: float64 [H, W, 3] in [0, 1].
        photo: The same.
        weight: bool [H, W], true where a pixel takes part.

    Returns:
        float64 [3, 4]: ``photo ~ A[:, :3] @ render + A[:, 3]``; None if no pixel takes part.
    """
    source, target = render[weight], photo[weight]
    if not len(source):
        return None
    # The triangle R of a QR factorisation of [colours 1 | photo] has the singular values and the
    # solutions of the long system, without squaring its condition as normal equations would.
    triangle = np.empty((0, 7))
    for start in range(0, len(source), _CHUNK):
        part = source[start : start + _CHUNK]
        rows = np.concatenate(
            [part, np.ones((len(part), 1)), target[start : start + _CHUNK]], axis=1
        )
        triangle = np.linalg.qr(np.concatenate([triangle, rows]), mode="r")
    cutoff = np.finfo(np.float64).eps * max(len(source), 4)
    solution = np.linalg.lstsq(triangle[:, :4], triangle[:, 4:], rcond=cutoff)[0]
    return solution.T


def apply_colour_transform(transform: np.ndarray, render: np.ndarray) -> np.ndarray:
    """Map colours float64 [..., 3] by ``transform`` [3, 4], clipped to [0, 1], not rounded."""
    return np.clip(render @ transform[:, :3].T + transform[:, 3], 0.0, 1.0)
