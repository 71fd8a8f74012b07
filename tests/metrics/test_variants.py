import math
import tracemalloc

import numpy as np
import pytest

from tests.metrics import independent_scorer
from tests.metrics.reference_lpips import random_weights, reference
from xscale.errors import ShapeError
from xscale.metrics import colour_transform, ssim
from xscale.metrics.lpips import LpipsModel
from xscale.metrics.variants import metric_names, score_photo

SUFFIXES = ("", "_covered", "_cc", "_covered_cc", "_uncovered", "_uncovered_cc", "_white")


def pictures(rng, size=(60, 70)):
    """A photo with structure, a render that is darker and noisy, white where not covered."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    photo = np.dstack([x, 0.5 + 0.4 * np.sin(20 * y), 0.5 * (x + y)])
    photo = np.rint(255 * np.clip(photo + rng.normal(0, 0.03, photo.shape), 0, 1))
    render = np.clip(0.8 * photo + 10 + rng.normal(0, 6, photo.shape), 0, 255).round()
    coverage = (x - 0.4) ** 2 + (y - 0.4) ** 2 < 0.12
    render[~coverage] = 255
    return render.astype(np.uint8), photo.astype(np.uint8), coverage


def test_all_names_of_the_protocol_are_there(rng):
    expected = {
        base + suffix for base in ("psnr", "ssim", "lpips_vgg", "lpips_alex") for suffix in SUFFIXES
    }
    assert set(score_photo(*pictures(rng))) == expected
    masked = score_photo(*pictures(rng), np.ones((60, 70), bool))
    assert set(masked) == expected | {
        "psnr_masked", "ssim_masked", "lpips_vgg_masked", "lpips_alex_masked"
    }  # fmt: skip
    assert set(metric_names(True)) == set(masked)


def test_scores_of_one_variant_are_those_of_all_and_no_others(rng):
    photos = pictures(rng)
    whole, one = score_photo(*photos), score_photo(*photos, suffixes=["_covered_cc"])
    assert set(one) == {name for name in whole if name.endswith("_covered_cc")}
    assert all(one[name] == whole[name] for name in one)


@pytest.mark.parametrize("case", ["disc", "all", "one pixel", "edge only", "grey render"])
def test_scores_equal_an_independent_scorer(rng, case):
    render, photo, coverage = pictures(rng)
    if case == "all":
        coverage[:] = True
    elif case == "one pixel":
        coverage[:] = False
        coverage[30, 30] = True
    elif case == "edge only":
        coverage[:] = False
        coverage[:4] = True
    elif case == "grey render":
        render[:] = render[:, :, :1]
    mask = rng.random(coverage.shape) < 0.7
    mask[30, 30] = True
    ours = score_photo(render, photo, coverage, mask)
    theirs = independent_scorer.score(render, photo, coverage, mask)
    assert len(theirs) == (12 if case == "all" else 16)
    for name, expected in theirs.items():
        expected = "inf" if expected == math.inf else expected
        if isinstance(expected, float):
            assert ours[name] == pytest.approx(expected, abs=1e-6), name
        else:
            assert ours[name] == expected, name


def test_lpips_variants_equal_the_lpips_package(rng, weights_dir, monkeypatch):
    render, photo, coverage = pictures(rng)
    mask = np.arange(70) > 30 + np.zeros((60, 1))
    theirs = reference("alex", random_weights("alex"), monkeypatch)
    models = {"alex": LpipsModel("alex", weights_dir)}
    ours = score_photo(render, photo, coverage, mask, models)
    found = independent_scorer.pairs(render, photo, coverage, mask)
    assert len(found) == 8
    for suffix, (_, filled, target, _) in found.items():
        expected = theirs(filled, target)
        assert expected > 1e-3
        assert ours["lpips_alex" + suffix] == pytest.approx(expected, abs=1e-6), suffix
    assert ours["lpips_vgg"] is None


def test_unit_lpips_feeds_the_network_unshifted_values(rng, weights_dir, monkeypatch):
    render, photo, coverage = pictures(rng)
    theirs = reference("vgg", random_weights("vgg"), monkeypatch)
    models = {"vgg": LpipsModel("vgg", weights_dir)}
    ours = score_photo(
        render, photo, coverage, None, models, ["", "_covered_cc"], extras=["lpips_vgg_unit"]
    )
    found = independent_scorer.pairs(render, photo, coverage)
    for suffix in ("", "_covered_cc"):
        _, filled, target, _ = found[suffix]
        # The reference maps x to 2x - 1: its network sees the pictures' own values here.
        expected = theirs((filled + 1) / 2, (target + 1) / 2)
        assert ours["lpips_vgg_unit" + suffix] == pytest.approx(expected, abs=1e-6), suffix
        assert abs(ours["lpips_vgg" + suffix] - expected) > 1e-3


def test_the_quadratic_variant_scores_the_fitted_render(rng, weights_dir, monkeypatch):
    render, photo, coverage = pictures(rng)
    theirs = reference("alex", random_weights("alex"), monkeypatch)
    models = {"alex": LpipsModel("alex", weights_dir)}
    ours = score_photo(render, photo, coverage, None, models, [], extras=["_ccq"])
    fitted = independent_scorer.quadratic(render / 255, photo / 255)
    expected = {
        "psnr_ccq": independent_scorer.decibels(fitted, photo / 255),
        "ssim_ccq": independent_scorer.similarity(fitted, photo / 255),
        "lpips_alex_ccq": theirs(fitted, photo / 255),
        "lpips_vgg_ccq": None,
    }
    assert ours == pytest.approx(expected, abs=1e-6)


def test_what_is_not_covered_does_not_count(rng):
    render, photo, coverage = pictures(rng)
    other = render.copy()
    other[~coverage] = rng.integers(0, 256, other[~coverage].shape)
    a, b = score_photo(render, photo, coverage), score_photo(other, photo, coverage)
    for base in ("psnr", "ssim"):
        for suffix in ("_covered", "_covered_cc", "_white"):
            assert a[base + suffix] == b[base + suffix]
        assert a[base] != b[base]


def test_what_is_covered_does_not_count_among_the_uncovered(rng):
    render, photo, coverage = pictures(rng)
    other = render.copy()
    other[coverage] = rng.integers(0, 256, other[coverage].shape)
    a, b = score_photo(render, photo, coverage), score_photo(other, photo, coverage)
    for base in ("psnr", "ssim"):
        assert a[base + "_uncovered"] == b[base + "_uncovered"]
    whole = score_photo(render, photo, np.ones_like(coverage))
    assert whole["psnr_uncovered"] is None
    assert whole["psnr_uncovered_cc"] is None


def test_exposure_does_not_count_after_the_colour_fit(rng):
    _, photo, coverage = pictures(rng)
    photo = (photo // 4) * 2 + 60
    render = ((photo.astype(int) - 60) // 2 + 20).astype(np.uint8)
    scores = score_photo(render, photo, coverage)
    assert scores["psnr_covered"] < 20
    assert scores["psnr_covered_cc"] == "inf"
    assert scores["ssim_covered_cc"] == pytest.approx(1.0, abs=1e-9)


def test_masked_pixels_do_not_count(rng):
    render, photo, coverage = pictures(rng)
    mask = np.ones(coverage.shape, bool)
    mask[20:40, 20:40] = False
    damaged = render.copy()
    damaged[~mask] = 0
    a, b = score_photo(render, photo, coverage, mask), score_photo(damaged, photo, coverage, mask)
    assert a["psnr_masked"] == b["psnr_masked"]
    assert a["ssim_masked"] == b["ssim_masked"]
    assert a["psnr_covered"] > b["psnr_covered"] + 3


def test_identical_pictures_are_infinite_and_alike_in_every_variant(rng, weights_dir):
    _, photo, coverage = pictures(rng)
    scores = score_photo(photo, photo, coverage, None, {"alex": LpipsModel("alex", weights_dir)})
    for suffix in SUFFIXES:
        assert scores["psnr" + suffix] == "inf"
        assert scores["ssim" + suffix] == pytest.approx(1.0, abs=1e-9)
        assert scores["lpips_alex" + suffix] == pytest.approx(0.0, abs=1e-7)


def test_without_a_covered_pixel_only_the_plain_variant_has_values(rng):
    render, photo, coverage = pictures(rng)
    scores = score_photo(render, photo, np.zeros_like(coverage), np.ones_like(coverage))
    assert scores["psnr"] > 0
    assert scores["ssim"] is not None
    others = [v for k, v in scores.items() if k not in ("psnr", "ssim")]
    assert others == [None] * len(others)


def test_masked_out_coverage_leaves_only_masked_scores_empty(rng):
    render, photo, coverage = pictures(rng)
    scores = score_photo(render, photo, coverage, ~coverage)
    assert scores["psnr_masked"] is None
    assert scores["ssim_masked"] is None
    assert scores["psnr_covered_cc"] > 20


@pytest.mark.parametrize("wrong", ["render", "photo", "coverage", "mask", "dtype"])
def test_arrays_that_do_not_fit_are_refused(rng, wrong):
    render, photo, coverage = pictures(rng)
    arguments = {"render": render, "photo": photo, "coverage": coverage, "mask": coverage}
    if wrong == "dtype":
        arguments["render"] = render / 255
    else:
        arguments[wrong] = arguments[wrong][:-1]
    with pytest.raises(ShapeError):
        score_photo(**arguments)


def test_scores_of_a_large_photo_fit_in_memory(rng, monkeypatch):
    # Strips of similarity count for little in a large photo, unlike here: one at a time.
    monkeypatch.setattr(ssim, "_THREADS", 1)
    # 280 bytes a pixel are 5.9 GB at 5280 x 3956; LPIPS has its own limit, after this.
    monkeypatch.setattr(colour_transform, "_CHUNK", 1 << 12)
    render, photo, coverage = pictures(rng, (500, 600))
    tracemalloc.start()
    try:
        score_photo(render, photo, coverage, extras=["_ccq"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / photo[:, :, 0].size < 300
