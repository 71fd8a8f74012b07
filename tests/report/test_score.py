import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.metrics import independent_scorer
from tests.report.builders import NAMES
from xscale.errors import InputError
from xscale.io.hashing import with_own_hash
from xscale.io.names import png_name
from xscale.io.photo.images import write_png
from xscale.io.photo.resample import area_downscale
from xscale.metrics.variants import metric_names
from xscale.report.score import score_renders, summarise, write_scores


def score(folder, photos, **options):
    renders, coverage = folder / "renders" / "test", folder / "renders" / "test/coverage"
    return score_renders(list(photos), photos.__getitem__, renders, coverage, **options)


def test_the_file_has_the_protocols_shape(scored, tmp_path):
    _, _, scores = scored
    path = tmp_path / "scores.json"
    write_scores(path, scores)
    write_scores(path, scores)
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read == with_own_hash(scores)
    assert list(read) == ["protocol", "photos", "mean", "counts", "self"]
    assert list(read["photos"]) == [png_name(n) for n in NAMES]
    for row in [*read["photos"].values(), read["mean"]]:
        assert tuple(row) == metric_names()
    assert read["counts"]["photos"] == 3


def test_the_protocol_states_what_the_numbers_depend_on(run):
    folder, photos = run
    stated = {"downscale": 2, "split": {"train": ["c.jpg"], "test": NAMES}, "commit": "abc"}
    found = score(folder, photos, protocol=stated, warnings=["mind this"])["protocol"]
    assert stated.items() <= found.items()
    assert found["lpips"] == {"vgg": None, "alex": None}
    assert found["versions"]["torch"]
    assert found["warnings"][0] == "mind this"
    assert len(found["warnings"]) == 2


def test_means_are_those_of_an_independent_command(tmp_path):
    rng = np.random.default_rng(8)
    stored = {n: rng.integers(0, 256, (83, 101, 3), np.uint8) for n in ("a.png", "sub/b.png")}
    photos = {}
    for name, photo in stored.items():
        smooth = np.repeat(np.repeat(photo[::8, ::8], 8, axis=0), 8, axis=1)[:83, :101]
        write_png(tmp_path / "photos" / name, smooth)
        photos[name] = area_downscale(smooth, 51, 42)
        noise = rng.integers(-9, 9, photos[name].shape)
        render = np.clip(photos[name] + noise, 0, 255).astype(np.uint8)
        coverage = np.where(rng.random((42, 51)) < 0.8, 255, 0).astype(np.uint8)
        write_png(tmp_path / "run" / "renders" / "test" / name, render)
        write_png(tmp_path / "run" / "renders" / "test/coverage" / name, coverage)
    ours = score(tmp_path / "run", photos)
    folders = [tmp_path / "run" / "renders" / f for f in ("test", "test/coverage")]
    command = [sys.executable, independent_scorer.__file__, *folders, tmp_path / "photos", "1.97"]
    result = subprocess.run(list(map(str, command)), capture_output=True, check=True, text=True)
    theirs = json.loads(result.stdout)
    assert len(theirs["mean"]) == 14
    for found, expected in [
        (ours["mean"], theirs["mean"]),
        *((ours["photos"][n], theirs["photos"][n]) for n in photos),
    ]:
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6), name


def test_the_independent_scorer_reduces_photos_as_we_do(rng):
    photo = rng.integers(0, 256, (83, 101, 3), dtype=np.uint8)
    for factor in (1, 2, 2.5, 4, 7):
        theirs = independent_scorer.downscale(photo, factor)
        np.testing.assert_array_equal(
            theirs, area_downscale(photo, theirs.shape[1], theirs.shape[0])
        )


def test_photos_without_coverage_are_counted_and_left_out(run):
    folder, photos = run
    first = folder / "renders" / "test/coverage" / png_name(NAMES[0])
    write_png(first, np.zeros((40, 56), np.uint8), overwrite=True)
    scores = score(folder, photos)
    rows = list(scores["photos"].values())
    assert rows[0]["psnr_covered_cc"] is None
    assert scores["counts"]["without_covered_pixels"] == 1
    assert scores["counts"]["left_out"]["psnr_covered_cc"] == 1
    assert "psnr" not in scores["counts"]["left_out"]
    expected = (rows[1]["psnr_covered_cc"] + rows[2]["psnr_covered_cc"]) / 2
    assert scores["mean"]["psnr_covered_cc"] == pytest.approx(expected)
    assert scores["mean"]["psnr"] == pytest.approx(sum(r["psnr"] for r in rows) / 3)


def test_one_identical_picture_makes_the_mean_infinite():
    rows = {"a": {"psnr": "inf", "ssim": 1.0}, "b": {"psnr": 30.0, "ssim": None}}
    found = summarise(rows, {"a": 1.0, "b": 0.5})
    assert found["mean"] == {"psnr": "inf", "ssim": 1.0}
    assert found["counts"]["inf"] == {"psnr": 1}
    assert found["counts"]["left_out"] == {"ssim": 1}


def test_a_photo_without_mask_in_a_scene_with_masks_is_kept_whole(run):
    folder, photos = run
    mask = np.zeros((40, 56), bool)
    mask[:, 20:30] = True
    scores = score(folder, photos, masks=lambda name: mask if name == NAMES[0] else None)
    rows = list(scores["photos"].values())
    assert rows[0]["psnr_masked"] != rows[0]["psnr_covered"]
    assert rows[1]["psnr_masked"] == rows[1]["psnr_covered"]


def test_progress_is_told_of_every_photo(run):
    folder, photos = run
    told = []
    score(folder, photos, progress=lambda name, row: told.append((name, row["psnr"] > 0)))
    assert told == [(n, True) for n in NAMES]


@pytest.mark.parametrize("kind", ["test", "test/coverage"])
def test_a_missing_picture_is_named_before_anything_is_scored(run, kind):
    folder, photos = run
    path = folder / "renders" / kind / png_name(NAMES[2])
    path.unlink()
    told = []
    with pytest.raises(InputError, match=r"does not exist; render the test photos first"):
        score(folder, photos, progress=lambda *a: told.append(a))
    assert told == []


def test_a_picture_of_another_size_is_named(run):
    folder, photos = run
    path = folder / "renders" / "test" / png_name(NAMES[1])
    Image.new("RGB", (55, 40)).save(path)
    with pytest.raises(InputError, match=r"b\.png: is 55 x 40, the photo is 56 x 40"):
        score(folder, photos)
