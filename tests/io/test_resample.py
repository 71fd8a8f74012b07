"""Area averaging against a slow oracle in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from xscale.io.photo.resample import area_downscale, mask_downscale


def _weights(source, result, i):
    begin, end = Fraction(i * source, result), Fraction((i + 1) * source, result)
    return {
        j: min(end, j + 1) - max(begin, j) for j in range(source) if min(end, j + 1) > max(begin, j)
    }


def average_oracle(picture, width, height):
    """The definition, pixel by pixel."""
    out = np.zeros((height, width, picture.shape[2]), np.uint8)
    for i in range(height):
        rows = _weights(picture.shape[0], height, i)
        for j in range(width):
            columns = _weights(picture.shape[1], width, j)
            area = sum(rows.values()) * sum(columns.values())
            for c in range(picture.shape[2]):
                total = sum(
                    wy * wx * int(picture[y, x, c])
                    for y, wy in rows.items()
                    for x, wx in columns.items()
                )
                out[i, j, c] = int(total / area + Fraction(1, 2))
    return out


@pytest.mark.parametrize(
    ("size", "result"),
    [
        ((9, 13), (4, 6)),
        ((8, 12), (4, 6)),
        ((7, 5), (7, 2)),
        ((10, 10), (1, 1)),
        ((11, 17), (10, 16)),
        ((12, 6), (4, 5)),
        ((130, 4), (65, 3)),
    ],
)
def test_average_equals_the_exact_one(rng, size, result):
    picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    got = area_downscale(picture, result[1], result[0])
    np.testing.assert_array_equal(got, average_oracle(picture, result[1], result[0]))


def test_halves_are_rounded_upwards():
    picture = np.array([[[0], [1]], [[0], [1]]], np.uint8)
    assert area_downscale(picture, 1, 1).item() == 1
    assert area_downscale(np.array([[[1], [1], [2], [2]]], np.uint8), 1, 1).item() == 2
    # One half in thirds: 6 x 0 and 3 x ... never a half, so 18 pixels of mean 0.5.
    assert area_downscale(np.resize(np.array([0, 1], np.uint8), (3, 6, 1)), 1, 1).item() == 1


def test_constant_picture_stays_constant_at_any_ratio(rng):
    for value in (0, 1, 127, 254, 255):
        width, height = rng.integers(1, 40, 2)
        picture = np.full((41, 43, 3), value, np.uint8)
        assert (area_downscale(picture, int(width), int(height)) == value).all()


def test_large_reduction_does_not_overflow():
    picture = np.full((3000, 4000, 1), 255, np.uint8)
    assert area_downscale(picture, 1, 1).item() == 255
    assert area_downscale(picture, 3, 7).min() == 255


def test_same_size_returns_the_same_pixels(rng):
    picture = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(area_downscale(picture, 6, 5), picture)


def test_enlarging_is_refused():
    with pytest.raises(ValueError, match="cannot average"):
        area_downscale(np.zeros((2, 2, 3), np.uint8), 3, 2)


def test_mask_keeps_a_pixel_only_if_all_its_area_is_kept():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    # 5 -> 2: the middle source pixel reaches into every result pixel.
    assert not mask_downscale(mask, 2, 2).any()
    mask[2, 2], mask[0, 0] = True, False
    assert mask_downscale(mask, 2, 2).tolist() == [[False, True], [True, True]]
    assert mask_downscale(mask, 5, 5) is mask
