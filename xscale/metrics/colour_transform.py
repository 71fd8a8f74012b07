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


_QUADRATIC_ROUNDS = 5
_CLIPPED = 0.5 / 255


def quadratic_fitted(render: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Return a render after the quadratic colour fit that gsplat and multinerf report.

    Each output channel is a quadratic polynomial of the three colours, fitted over the whole frame
    in five rounds, each on the result of the one before; pixels that are clipped in the render or
    the photo do not take part.

    Args:
        render: float64 [H, W, 3] in [0, 1].
        photo: The same.

    Returns:
        float64 [H, W, 3] in [0, 1].
    """
    target = photo.reshape(-1, 3)
    original = render.reshape(-1, 3)
    colours = original
    blocks = [slice(start, start + _CHUNK) for start in range(0, len(target), _CHUNK)]
    for _ in range(_QUADRATIC_ROUNDS):
        # Normal equations of ten terms for each channel, summed over blocks of pixels.
        left, right = np.zeros((3, 10, 10)), np.zeros((3, 10))
        for block in blocks:
            terms = _quadratic_terms(colours[block])
            parts = (original[block], colours[block], target[block])
            usable = np.logical_and.reduce([_unclipped(part) for part in parts])
            for channel in range(3):
                rows = usable[:, channel]
                chosen = terms[rows]
                left[channel] += chosen.T @ chosen
                right[channel] += chosen.T @ target[block][rows, channel]
        # The last term is one: its square counts the pixels that take part.
        found = [channel for channel in range(3) if left[channel, -1, -1] > 0]
        maps = [np.linalg.lstsq(left[c], right[c], rcond=None)[0] for c in found]
        fitted = colours.copy()
        for block in blocks if found else ():
            terms = _quadratic_terms(colours[block])
            fitted[block, found] = np.clip(terms @ np.stack(maps, axis=1), 0.0, 1.0)
        colours = fitted
    return colours.reshape(render.shape)


def _unclipped(colours: np.ndarray) -> np.ndarray:
    return (colours >= _CLIPPED) & (colours <= 1 - _CLIPPED)


def _quadratic_terms(colours: np.ndarray) -> np.ndarray:
    """Return the ten terms [N, 10]: products of two colours, colours, one."""
    red, green, blue = colours.T
    products = [red * red, red * green, red * blue, green * green, green * blue, blue * blue]
    return np.stack([*products, red, green, blue, np.ones_like(red)], axis=1)
