"""Scores against scale: blocks of pixels, and octaves of footprints."""

import numpy as np
import pytest

from xscale.metrics.scales import downscaled_scores, octaves, scale_report
from xscale.metrics.variants import score_photo

WHOLE = np.ones((64, 64), bool)


def noisy(rng, photo, spread=20):
    return np.clip(photo + rng.integers(-spread, spread + 1, photo.shape), 0, 255).astype(np.uint8)


def test_averaging_over_blocks_takes_noise_away(rng):
    photo = rng.integers(60, 190, (64, 64, 3), np.uint8)
    found = downscaled_scores(noisy(rng, photo), photo, WHOLE, {})
    means = [found[side]["psnr_covered_cc"] for side in (2, 4, 8)]
    np.testing.assert_allclose(np.diff(means), 6.02, atol=1)
    assert found[2]["lpips_vgg_covered_cc"] is None


def test_a_block_counts_only_where_all_its_pixels_are_covered(rng):
    photo = rng.integers(0, 256, (64, 64, 3), np.uint8)
    render = noisy(rng, photo)
    coverage = WHOLE.copy()
    coverage[:, 33:] = False
    other = render.copy()
    other[:, 32:] = 255 - photo[:, 32:]
    other[:, 32][:] = render[:, 32]
    assert downscaled_scores(render, photo, coverage, {}) == downscaled_scores(
        other, photo, coverage, {}
    )


def test_octaves_divide_the_covered_pixels_and_their_errors(rng):
    photo = rng.integers(40, 200, (48, 64, 3), np.uint8)
    render = noisy(rng, photo)
    render[:, 32:] = noisy(rng, photo[:, 32:], 40)
    coverage = rng.random((48, 64)) < 0.9
    footprint = np.full((48, 64), 0.3)
    footprint[:, 32:] = 0.7
    footprint[~coverage] = np.nan
    found = octaves(render, photo, coverage, footprint)
    assert set(found) == {-2, -1}
    assert sum(octave.pixels for octave in found.values()) == coverage.sum()
    assert found[-2].pixels == coverage[:, :32].sum()
    whole = score_photo(render, photo, coverage)
    squares = sum(octave.squares for octave in found.values()) / (3 * coverage.sum())
    assert -10 * np.log10(squares) == pytest.approx(whole["psnr_covered_cc"], abs=1e-9)
    inner = sum(octave.ssim_pixels for octave in found.values())
    total = sum(octave.similarity for octave in found.values())
    assert total / inner == pytest.approx(whole["ssim_covered_cc"], abs=1e-9)
    near, far = (found[k].scores()["psnr_covered_cc"] for k in (-2, -1))
    assert 3 < near - far < 9


def test_octaves_of_photos_are_those_of_all_their_pixels(rng):
    photo = rng.integers(40, 200, (32, 32, 3), np.uint8)
    sums = {
        name: octaves(noisy(rng, photo, spread), photo, np.ones((32, 32), bool), np.ones((32, 32)))
        for name, spread in (("a", 10), ("b", 30))
    }
    report = scale_report({}, sums, True)["octaves"]
    squares = [10 ** (-report["photos"][n]["0"]["psnr_covered_cc"] / 10) for n in "ab"]
    expected = -10 * np.log10(np.mean(squares))
    assert report["all"]["0"]["psnr_covered_cc"] == pytest.approx(expected)
    assert scale_report({}, sums, False)["octaves"]["all"] == {}


def test_equal_pictures_and_nothing_covered_are_no_numbers(rng):
    photo = rng.integers(0, 256, (32, 32, 3), np.uint8)
    found = downscaled_scores(photo, photo, np.zeros((32, 32), bool), {})
    assert found[2]["psnr_covered_cc"] is None
    assert octaves(photo, photo, np.zeros((32, 32), bool), np.ones((32, 32))) == {}
    same = octaves(photo, photo, np.ones((32, 32), bool), np.ones((32, 32)))
    assert same[0].scores()["ssim_covered_cc"] == pytest.approx(1)
