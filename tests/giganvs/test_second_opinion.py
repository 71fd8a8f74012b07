"""Another program makes the benchmark's figures again, from the PNGs alone."""

import numpy as np
import pytest

from tests.metrics import independent_scorer
from tests.metrics.reference_lpips import FILES, random_weights, reference
from xscale.giganvs.run import run
from xscale.giganvs.score import score
from xscale.io.photo.images import write_png
from xscale.report.ranking import read_scores

SMALL = ["optim.batch=256", "model.grid.levels=4", "model.grid.log2_table_size=10",
         "model.shader.hidden=16"]  # fmt: skip
DECIBELS, SHARE = 0.01, 0.001


def second_opinion(prepared, pred, name, distances):
    """Return all scores of a photo by the independent scorer, from three PNG files."""
    stem = name.rsplit(".", 1)[0]
    (source,) = (prepared.path / "images_1").glob(f"{stem}.*")
    photo = independent_scorer.load(source)
    render = independent_scorer.load(pred / f"{stem}.png")
    covered = independent_scorer.load(prepared.path / f"coverage/every7/{stem}.png")[:, :, 0] >= 128
    expected = independent_scorer.score(render, photo, covered)
    expected |= independent_scorer.quadratic_score(render, photo)
    variants = independent_scorer.pairs(render, photo, covered)
    fitted = independent_scorer.quadratic(render / 255, photo / 255)
    variants["_ccq"] = (fitted, fitted, photo / 255, None)
    for suffix, (_, filled, target, _) in variants.items():
        for net, distance in distances.items():
            expected[f"lpips_{net}{suffix}"] = distance(filled, target)
        unit = distances["vgg"]((filled + 1) / 2, (target + 1) / 2)
        expected["lpips_vgg_unit" + suffix] = unit
    return expected


def assert_equal_figures(prepared, pred, scores, monkeypatch):
    distances = {net: reference(net, random_weights(net), monkeypatch) for net in FILES}
    totals = {}
    for name, row in scores["photos"].items():
        expected = second_opinion(prepared, pred, name, distances)
        assert set(row) == set(expected)
        for metric, value in expected.items():
            allowed = DECIBELS if metric.startswith("psnr") else SHARE
            assert row[metric] == pytest.approx(value, abs=allowed), (name, metric)
            totals.setdefault(metric, []).append(value)
    for metric, values in totals.items():
        allowed = DECIBELS if metric.startswith("psnr") else SHARE
        assert scores["mean"][metric] == pytest.approx(np.mean(values), abs=allowed), metric


def test_scores_of_any_pictures_equal_the_independent_ones(
    prepared, weights_dir, tmp_path, monkeypatch, rng
):
    pred = tmp_path / "pred"
    for name in prepared.split("every7").test:
        photo = prepared.photo(name).astype(np.float64)
        changed = 0.8 * photo + 12 + rng.normal(0, 9, photo.shape)
        stem = name.rsplit(".", 1)[0]
        write_png(pred / f"{stem}.png", np.clip(changed, 0, 255).astype(np.uint8))
    scores = score(pred, prepared, lpips_weights=weights_dir)
    assert_equal_figures(prepared, pred, scores, monkeypatch)


def test_scores_of_a_run_equal_the_independent_ones(prepared, weights_dir, tmp_path, monkeypatch):
    outcome = run(
        prepared.path, tmp_path, steps=4, settings=SMALL, device="cpu", lpips_weights=weights_dir
    )
    (path,) = outcome.scores
    pred = path.parent / "renders/test"
    assert_equal_figures(prepared, pred, read_scores(path), monkeypatch)
