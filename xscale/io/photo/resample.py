"""Exact area averaging of pictures, the rule of every downscale (docs/conventions.md).

With W source and W' result pixels in lowest terms p / q, a source pixel is q units wide and a
result pixel p units, so all overlaps are whole numbers: sums are integers and the rounding is
exact, whatever the ratio.
"""

from __future__ import annotations

import math

import numpy as np

_ROWS = 64


def _taps(source: int, result: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the units per result pixel, first source pixels [N'] and overlaps [taps, N']."""
    divisor = math.gcd(source, result)
    p, q = source // divisor, result // divisor
    begin = np.arange(result, dtype=np.int64) * p
    first = begin // q
    count = -(-p // q) + (1 if q > 1 else 0)
    edges = (first + np.arange(count)[:, None]) * q
    overlap = np.minimum(edges + q, begin + p) - np.maximum(edges, begin)
    return p, first, np.maximum(overlap, 0)


def area_sums(picture: np.ndarray, width: int, height: int) -> tuple[np.ndarray, int]:
    """Sum the source under every result pixel, weighted by overlap.

    Args:
        picture: uint8 or uint16 [H, W, C].
        width: Result width, at most W.
        height: Result height, at most H.

    Returns:
        Integer sums [height, width, C] and the total weight: sum / weight is the exact average.
    """
    source_height, source_width, channels = picture.shape
    if not (1 <= width <= source_width and 1 <= height <= source_height):
        raise ValueError(f"cannot average {source_width} x {source_height} to {width} x {height}")
    weight_y, first_y, overlap_y = _taps(source_height, height)
    weight_x, first_x, overlap_x = _taps(source_width, width)
    weight = weight_y * weight_x
    largest = int(np.iinfo(picture.dtype).max)
    wide = np.int32 if largest * weight < 2**31 else np.int64
    narrow = np.uint16 if largest * weight_y < 2**16 else wide
    sums = np.empty((height, width, channels), wide)
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        column_sums = _down(picture, first_y[rows], overlap_y[:, rows], narrow)
        _across(column_sums, first_x, overlap_x, sums[rows])
    return sums, weight


def _down(picture: np.ndarray, first: np.ndarray, overlap: np.ndarray, dtype: type) -> np.ndarray:
    """Sum rows: [H, W, C] -> [rows, W, C]."""
    total = np.zeros((len(first), *picture.shape[1:]), dtype)
    for tap, weights in enumerate(overlap):
        if not weights.any():
            continue
        # A tap past the last row has weight 0 there; any row will do.
        source = picture[np.minimum(first + tap, len(picture) - 1)]
        if (weights == 1).all():
            total += source
        else:
            total += source * weights.astype(dtype)[:, None, None]
    return total


def _across(columns: np.ndarray, first: np.ndarray, overlap: np.ndarray, out: np.ndarray) -> None:
    """Sum columns into ``out``: [rows, W, C] -> [rows, W', C]."""
    out[...] = 0
    even = bool((overlap == 1).all())
    step = len(overlap)
    # Channel by channel: the inner loop then runs over a whole row and not over three values.
    for channel in range(columns.shape[2]):
        plane = columns[:, :, channel]
        target = np.zeros(out.shape[:2], out.dtype)
        for tap, weights in enumerate(overlap):
            if even:
                target += plane[:, tap::step]
            elif weights.any():
                source = plane[:, np.minimum(first + tap, plane.shape[1] - 1)]
                target += source * weights.astype(out.dtype)
        out[:, :, channel] = target


def area_downscale(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Average a picture down to ``width`` x ``height``, exactly; halves are rounded upwards.

    Args:
        picture: uint8 or uint16 [H, W, C]; 65535 of the latter is 255 of the former.
        width: Result width, 1 to W.
        height: Result height, 1 to H.

    Returns:
        uint8 [height, width, C]; the picture itself where nothing changes.
    """
    if picture.shape[:2] == (height, width):
        return to_8bit(picture)
    sums, weight = area_sums(picture, width, height)
    weight *= np.iinfo(picture.dtype).max // 255
    if weight & (weight - 1) == 0:
        sums += weight >> 1
        sums >>= weight.bit_length() - 1
        return sums.astype(np.uint8)
    doubled = sums.astype(np.int64) if 512 * weight >= 2**31 else sums
    # floor(sum / weight + 1/2) in whole numbers.
    return ((doubled * 2 + weight) // (2 * weight)).astype(np.uint8)


def to_8bit(picture: np.ndarray) -> np.ndarray:
    """Round uint16 to uint8, halves upwards; uint8 stays the array it is."""
    if picture.dtype == np.uint8:
        return picture
    # 2 * 257 * result is at most 2 * picture + 257, below 2^18.
    return ((2 * picture.astype(np.uint32) + 257) // 514).astype(np.uint8)


def mask_downscale(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Reduce a mask: a result pixel is kept only where all of its source area is kept.

    Args:
        mask: bool [H, W], true = kept.
        width: Result width, 1 to W.
        height: Result height, 1 to H.

    Returns:
        bool [height, width].
    """
    if mask.shape == (height, width):
        return mask
    sums, weight = area_sums(mask[:, :, None].astype(np.uint8), width, height)
    return sums[:, :, 0] == weight
