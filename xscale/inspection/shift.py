"""By how many pixels one picture has to be moved to lie on another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Shift(NamedTuple):
    """The best place of a picture on another."""

    x: float
    y: float
    """Pixels by which the template's content lies further right and down in the picture."""
    score: float
    """Normalised correlation there, at most 1."""
    distinct: float
    """How far the best place stands out of all, in their standard deviations."""

    @property
    def length(self) -> float:
        """Pixels."""
        return float(np.hypot(self.x, self.y))


def blurred(picture: np.ndarray, radius: int) -> np.ndarray:
    """Return the mean over squares of ``2 * radius + 1`` pixels, borders repeated."""
    side = 2 * radius + 1
    for axis in (0, 1):
        pad = [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)]
        total = np.cumsum(np.pad(picture.astype(np.float64), pad, mode="edge"), axis=axis)
        ahead = np.take(total, np.arange(side, total.shape[axis]), axis=axis)
        picture = (ahead - np.take(total, np.arange(total.shape[axis] - side), axis=axis)) / side
    return picture


def whitened(grey: np.ndarray, radius: int = 8) -> np.ndarray:
    """Take out local brightness and contrast, which differ between photos."""
    centred = grey - blurred(grey, radius)
    return centred / np.sqrt(blurred(centred**2, radius) + 1e-4)


def best_shift(
    template: np.ndarray, mask: np.ndarray, picture: np.ndarray, reach: int
) -> Shift | None:
    """Find where a template lies on a picture by masked normalised correlation.

    Args:
        template: [H, W], mean about zero.
        mask: bool [H, W], where the template counts.
        picture: [H + 2 reach, W + 2 reach], mean about zero; unmoved, the template lies ``reach``
            pixels from its left and upper edge.
        reach: Most pixels moved along each axis.

    Returns:
        The best of all whole-pixel shifts, refined by parabolas; None where the template is flat.
    """
    weight = mask.astype(np.float64)
    masked = template * weight
    energy = float((masked**2).sum())
    if energy < 1e-9:
        return None
    size = picture.shape
    spectrum = np.fft.rfft2(picture)
    cross = np.fft.irfft2(np.conj(np.fft.rfft2(masked, size)) * spectrum, size)
    squares = np.fft.irfft2(np.conj(np.fft.rfft2(weight, size)) * np.fft.rfft2(picture**2), size)
    places = np.s_[: 2 * reach + 1, : 2 * reach + 1]
    floor = 1e-3 * float(squares[places].max()) + 1e-12
    score = cross[places] / np.sqrt(energy * np.maximum(squares[places], floor))
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return Shift(
        int(column) - reach + _between(score[row], int(column)),
        int(row) - reach + _between(score[:, column], int(row)),
        float(score[row, column]),
        float((score[row, column] - score.mean()) / max(score.std(), 1e-9)),
    )


def _between(values: np.ndarray, at: int) -> float:
    """Return how far a maximum lies from its sample, by the parabola through its neighbours."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, top, after = values[at - 1 : at + 2]
    bend = before - 2 * top + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0
