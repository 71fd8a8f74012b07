"""By how many pixels a picture is shifted against another, to hundredths of a pixel."""

from __future__ import annotations

import numpy as np

_STEPS = 6


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H, W] or [H, W, C] along both axes; the border is repeated."""
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(picture.ndim)]
        padded = np.pad(picture, pad, mode="edge")
        length = picture.shape[axis]
        picture = sum(
            weight * np.take(padded, range(k, k + length), axis=axis)
            for k, weight in enumerate(kernel)
        )
    return picture


def eroded(mask: np.ndarray, reach: int) -> np.ndarray:
    """Keep the pixels of bool [H, W] whose square surroundings are all kept."""
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(2)]
        padded = np.pad(mask, pad)
        mask = np.all(
            [np.take(padded, range(k, k + mask.shape[axis]), axis) for k in range(2 * reach + 1)],
            axis=0,
        )
    return mask


def bicubic(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Sample [H, W] or [H, W, C] at continuous pixels, centres at +0.5; the border is repeated."""
    x, y = np.asarray(u) - 0.5, np.asarray(v) - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    weights = [_cubic(x - column), _cubic(y - row)]
    total = 0
    for j in range(4):
        for i in range(4):
            r = np.clip(row + j - 1, 0, picture.shape[0] - 1)
            c = np.clip(column + i - 1, 0, picture.shape[1] - 1)
            weight = weights[1][j] * weights[0][i]
            total = total + picture[r, c] * (weight[..., None] if picture.ndim == 3 else weight)
    return total


def _cubic(t: np.ndarray) -> list[np.ndarray]:
    return [
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]


def shift(
    photo: np.ndarray, render: np.ndarray, mask: np.ndarray, *, block: int | None = None
) -> np.ndarray:
    """Return (right, down): photo(x) is best explained by render(x - shift), gain and bias aside.

    Least squares on band-passed grey values, iterated until it stands (Gauss-Newton).

    Args:
        photo: [H, W, 3].
        render: [H, W, 3].
        mask: bool [H, W]: what both show; its edge is left out.
        block: Edge of squares that are registered one by one, their median taken; by default the
            picture is registered as a whole.
    """
    # What is outside the mask is filled from inside, so that no edge of the mask is registered.
    weight = blurred(mask.astype(float), 2.0)
    pictures = []
    for picture in (photo, render):
        grey = np.asarray(picture, float).mean(-1) if picture.ndim == 3 else picture.astype(float)
        filled = blurred(grey * mask, 2.0) / np.maximum(weight, 1e-6)
        grey = np.where(mask, grey, filled)
        pictures.append(blurred(grey, 1.0) - blurred(grey, 5.0))
    kept = eroded(mask, 8)
    kept[:9] = kept[-9:] = kept[:, :9] = kept[:, -9:] = False
    if block is None:
        return _solve(*pictures, kept)
    height, width = mask.shape
    found = []
    for top in range(0, height - block + 1, block):
        for left in range(0, width - block + 1, block):
            part = np.zeros_like(kept)
            square = (slice(top, top + block), slice(left, left + block))
            part[square] = kept[square]
            if part[square].mean() > 0.8:
                found.append(_solve(*pictures, part))
    return np.median([each for each in found if np.abs(each).max() < 3], axis=0)


def _solve(photo: np.ndarray, render: np.ndarray, kept: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(kept)
    u, v = columns + 0.5, rows + 0.5
    target = photo[kept]
    moved = np.zeros(2)
    for _ in range(_STEPS):
        x, y = u - moved[0], v - moved[1]
        now = bicubic(render, x, y)
        across = bicubic(render, x + 0.5, y) - bicubic(render, x - 0.5, y)
        down = bicubic(render, x, y + 0.5) - bicubic(render, x, y - 0.5)
        terms = np.stack([-across, -down, now, np.ones_like(now)], 1)
        solution = np.linalg.lstsq(terms, target, rcond=None)[0]
        # The gain is applied to the slopes as well: divide it out.
        moved = moved + solution[:2] / max(solution[2], 0.1)
        if np.abs(solution[:2]).max() < 1e-4 or np.abs(moved).max() > 5:
            break
    return moved
