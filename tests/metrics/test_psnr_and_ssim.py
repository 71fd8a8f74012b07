import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from xscale.errors import ShapeError
from xscale.metrics.psnr import psnr
from xscale.metrics.ssim import ssim, ssim_map


def test_psnr_of_a_constant_offset_is_its_square_in_decibels():
    photo = np.full((4, 5, 3), 0.25)
    assert psnr(photo + 0.1, photo) == pytest.approx(20.0, abs=1e-12)


def test_psnr_averages_squares_over_pixels_and_channels():
    photo = np.zeros((2, 2, 3))
    render = photo.copy()
    render[0, 0, 1] = 1.0
    assert psnr(render, photo) == pytest.approx(10 * math.log10(12))


def test_psnr_counts_only_weighted_pixels(rng):
    photo = rng.random((6, 7, 3))
    weight = rng.random((6, 7)) < 0.5
    render = np.where(weight[:, :, None], photo + 0.01, 0.0)
    assert psnr(render, photo, weight) == pytest.approx(40.0)
    assert psnr(render, photo, np.zeros_like(weight)) is None


def test_psnr_of_identical_pictures_is_infinite_and_one_step_in_a_large_picture_is_not():
    photo = np.zeros((2000, 2000, 3))
    assert psnr(photo, photo) == math.inf
    render = photo.copy()
    render[0, 0, 0] = 1 / 255
    assert psnr(render, photo) == pytest.approx(10 * math.log10(255**2 * 12e6))


def scikit(a, b, full=False):
    return structural_similarity(
        a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=full,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(11, 11), (12, 40), (97, 61)])
def test_ssim_equals_scikit_image(rng, size):
    photo = rng.integers(0, 256, (*size, 3)) / 255
    render = np.clip(photo + rng.normal(0, 0.1, photo.shape), 0, 1)
    assert ssim(render, photo) == pytest.approx(scikit(render, photo), abs=1e-10)
    expected = scikit(render, photo, full=True)[1][5:-5, 5:-5].mean(axis=2)
    np.testing.assert_allclose(ssim_map(render, photo), expected, atol=1e-10)


def test_ssim_of_smooth_pictures_equals_scikit_image():
    y, x = np.mgrid[0:64, 0:80] / 80
    photo = np.dstack([x, y, 0.5 * (x + y)])
    render = np.dstack([x**1.1, y, 0.5 * (x + y) + 0.02])
    assert ssim(render, photo) == pytest.approx(scikit(render, photo), abs=1e-9)


def test_ssim_of_two_flat_pictures_is_the_luminance_term():
    a, b = 0.2, 0.7
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    render, photo = np.full((20, 20, 3), a), np.full((20, 20, 3), b)
    assert ssim(render, photo) == pytest.approx(expected, abs=1e-12)


def test_ssim_weights_leave_out_the_outer_five_pixels(rng):
    photo, render = rng.random((30, 25, 3)), rng.random((30, 25, 3))
    weight = np.zeros((30, 25), bool)
    weight[:8, 10] = True
    assert ssim(render, photo, weight) == pytest.approx(ssim_map(render, photo)[:3, 5].mean())
    edge = np.zeros_like(weight)
    edge[4] = edge[:, -5] = True
    assert ssim(render, photo, edge) is None


def test_pictures_below_the_window_have_no_ssim(rng):
    assert ssim(rng.random((10, 40, 3)), rng.random((10, 40, 3))) is None
    assert ssim(rng.random((4, 4, 3)), rng.random((4, 4, 3)), np.ones((4, 4), bool)) is None


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_of_two_shapes_are_refused(metric):
    with pytest.raises(ShapeError, match="must be equal"):
        metric(np.zeros((12, 13, 3)), np.zeros((13, 12, 3)))
