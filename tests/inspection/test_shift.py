"""The displacement of one picture on another is found, to parts of a pixel."""

import numpy as np
import pytest

from xscale.inspection.shift import best_shift, blurred, whitened

REACH = 12


@pytest.mark.parametrize(("x", "y"), [(0, 0), (7, -4), (-11, 10)])
def test_known_shift_is_found_where_a_third_is_masked_out(rng, x, y):
    wide = blurred(rng.normal(size=(160, 160)), 1)
    template = wide[30 : 30 + 80, 30 : 30 + 90]
    picture = wide[30 - y - REACH : 110 - y + REACH, 30 - x - REACH : 120 - x + REACH]
    mask = np.ones(template.shape, bool)
    mask[:30] = False
    found = best_shift(np.where(mask, template, 50.0), mask, picture, REACH)
    assert (round(found.x), round(found.y)) == (x, y)
    assert found.score > 0.95


def test_flat_template_has_no_place():
    flat = np.zeros((20, 20))
    assert best_shift(flat, np.ones((20, 20), bool), np.zeros((30, 30)), 5) is None


def test_whitening_forgets_brightness_and_contrast(rng):
    grey = blurred(rng.uniform(0.2, 0.8, (60, 70)), 1)
    np.testing.assert_allclose(whitened(grey), whitened(0.7 * grey + 0.2), atol=0.25)


def test_blur_is_the_mean_of_the_square(rng):
    picture = rng.normal(size=(9, 11))
    blur = blurred(picture, 1)
    assert blur[4, 5] == pytest.approx(picture[3:6, 4:7].mean())
    assert blur.shape == picture.shape
