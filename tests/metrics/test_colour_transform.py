import numpy as np
import pytest

from tests.metrics import independent_scorer
from xscale.metrics import colour_transform
from xscale.metrics.colour_transform import (
    apply_colour_transform,
    fit_colour_transform,
    quadratic_fitted,
)

ALL = np.ones((20, 30), bool)


def direct(render, photo, weight):
    colours = np.column_stack([render[weight], np.ones(weight.sum())])
    return np.linalg.lstsq(colours, photo[weight], rcond=None)[0].T


def test_a_known_transform_is_found_again(rng):
    render = rng.integers(0, 256, (20, 30, 3)) / 255
    known = np.array([[0.8, 0.1, 0.0, 0.02], [0.05, 0.7, 0.1, 0.01], [0.0, 0.02, 0.9, 0.03]])
    photo = render @ known[:, :3].T + known[:, 3]
    np.testing.assert_allclose(fit_colour_transform(render, photo, ALL), known, atol=1e-12)
    np.testing.assert_allclose(apply_colour_transform(known, render), photo, atol=1e-15)


def test_only_weighted_pixels_take_part(rng):
    render, photo = rng.random((20, 30, 3)), rng.random((20, 30, 3))
    weight = rng.random((20, 30)) < 0.4
    expected = direct(render, photo, weight)
    render[~weight], photo[~weight] = 0.9, 0.1
    np.testing.assert_allclose(fit_colour_transform(render, photo, weight), expected, atol=1e-10)


def test_chunks_give_the_solution_of_the_whole(rng, monkeypatch):
    monkeypatch.setattr(colour_transform, "_CHUNK", 7)
    render, photo = rng.random((20, 30, 3)), rng.random((20, 30, 3))
    found = fit_colour_transform(render, photo, ALL)
    np.testing.assert_allclose(found, direct(render, photo, ALL), atol=1e-10)


@pytest.mark.parametrize("case", ["grey", "flat", "black", "two pixels"])
def test_undetermined_fits_are_of_minimum_norm(rng, case):
    render = {
        "grey": np.repeat(rng.integers(0, 256, (20, 30, 1)) / 255, 3, axis=2),
        "flat": np.full((20, 30, 3), [0.2, 0.4, 0.6]),
        "black": np.zeros((20, 30, 3)),
        "two pixels": rng.integers(0, 256, (20, 30, 3)) / 255,
    }[case]
    photo = rng.integers(0, 256, (20, 30, 3)) / 255
    weight = ALL.copy()
    if case == "two pixels":
        weight[:] = False
        weight[3, 4] = weight[7, 9] = True
    colours = np.column_stack([render[weight], np.ones(weight.sum())])
    expected = (np.linalg.pinv(colours, rcond=1e-9) @ photo[weight]).T
    np.testing.assert_allclose(fit_colour_transform(render, photo, weight), expected, atol=1e-9)


def test_nearly_grey_colours_are_still_told_apart(rng):
    render = np.repeat(rng.integers(0, 255, (20, 30, 1)), 3, axis=2) / 255
    render[5, 6, 1] += 1 / 255
    render[8, 2, 2] += 1 / 255
    photo = rng.random((20, 30, 3))
    ours = apply_colour_transform(fit_colour_transform(render, photo, ALL), render)
    theirs = apply_colour_transform(direct(render, photo, ALL), render)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_no_pixel_means_no_transform_and_results_are_clipped():
    picture = np.zeros((20, 30, 3))
    assert fit_colour_transform(picture, picture, ~ALL) is None
    doubled = np.hstack([2 * np.eye(3), np.full((3, 1), -0.5)])
    result = apply_colour_transform(doubled, np.array([[0.1, 0.5, 0.9]]))
    np.testing.assert_allclose(result, [[0.0, 0.5, 1.0]])


@pytest.mark.parametrize("block", [1 << 18, 97])
def test_the_quadratic_fit_equals_a_direct_one(rng, monkeypatch, block):
    monkeypatch.setattr(colour_transform, "_CHUNK", block)
    photo = rng.integers(0, 256, (20, 30, 3)) / 255
    render = np.clip(photo**1.4 * 0.8 + 0.05 * photo[:, :, ::-1] + rng.normal(0, 0.05, photo.shape),
                     0, 1)  # fmt: skip
    assert (render == 0).any()
    expected = independent_scorer.quadratic(render, photo)
    np.testing.assert_allclose(quadratic_fitted(render, photo), expected, atol=1e-9)
    assert np.abs(expected - render).max() > 0.05


def test_a_quadratic_change_of_colours_is_undone(rng):
    photo = rng.uniform(0.1, 0.8, (20, 30, 3))
    render = np.sqrt(photo[:, :, ::-1])
    np.testing.assert_allclose(quadratic_fitted(render, photo), photo, atol=1e-9)


def test_a_channel_that_is_clipped_everywhere_is_left_alone(rng):
    photo, render = rng.uniform(0.1, 0.9, (20, 30, 3)), rng.uniform(0.1, 0.9, (20, 30, 3))
    render[:, :, 1] = 1.0
    fitted = quadratic_fitted(render, photo)
    np.testing.assert_array_equal(fitted[:, :, 1], 1.0)
    assert np.abs(fitted[:, :, 0] - render[:, :, 0]).max() > 0.05
