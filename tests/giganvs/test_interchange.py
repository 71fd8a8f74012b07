"""Results go to nerfbaselines and come back with equal figures; it trains xscale as a method."""

import json
import struct
import tarfile
from base64 import b64decode

import numpy as np
import pytest

from tests.giganvs.test_giganvs import SMALL, picture_folder
from tests.metrics.test_parity import stand_in
from xscale.cli.main import main
from xscale.errors import InputError
from xscale.giganvs.score import score
from xscale.render.run import Run


@pytest.fixture
def written(prepared, tmp_path, weights_dir):
    pred = picture_folder(prepared, tmp_path / "mine", noise=8)
    scores = score(pred, prepared, lpips_weights=weights_dir, results=tmp_path / "results")
    return scores, tmp_path / "results"


def decoded(text):
    data = b64decode(text)
    return struct.unpack(f"<{len(data) // 4}f", data)


def test_results_hold_each_photos_figures_and_the_pictures(prepared, written, tmp_path):
    scores, folder = written
    results = json.loads((folder / "results.json").read_text())
    names = sorted(scores["photos"])
    for theirs, ours in (("psnr", "psnr"), ("ssim", "ssim"), ("lpips", "lpips_alex"),
                         ("lpips_vgg", "lpips_vgg")):  # fmt: skip
        expected = [scores["photos"][name][ours] for name in names]
        assert decoded(results["metrics_raw"][theirs]) == pytest.approx(expected, rel=1e-6)
        assert results["metrics"][theirs] == round(np.mean(expected), 5)
    with tarfile.open(folder / "predictions.tar.gz") as archive:
        assert "info.json" in archive.getnames()
    again = score(folder / "predictions.tar.gz", prepared)
    assert again["mean"]["psnr"] == scores["mean"]["psnr"]
    assert again["missing"] == []


def test_a_missing_picture_has_no_place_in_results(prepared, tmp_path):
    pred = picture_folder(prepared, tmp_path / "mine", noise=8)
    sorted(pred.iterdir())[0].unlink()
    with pytest.raises(InputError, match="have no picture"):
        score(pred, prepared, results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.filterwarnings("ignore")
def test_nerfbaselines_finds_the_same_figures_and_hashes(written, tmp_path, monkeypatch):
    pytest.importorskip("nerfbaselines")
    stand_in(monkeypatch)
    from nerfbaselines import metrics
    from nerfbaselines.evaluation import evaluate
    from nerfbaselines.io import get_metrics_hash

    _, folder = written
    ours = json.loads((folder / "results.json").read_text())
    theirs = evaluate(str(folder / "predictions.tar.gz"), str(tmp_path / "theirs.json"))
    metrics.clear_cache()
    for name in ("psnr", "ssim", "lpips"):
        assert decoded(theirs["metrics_raw"][name]) == pytest.approx(
            decoded(ours["metrics_raw"][name]), abs=1e-4
        ), name
    for name in ("predictions_sha256", "ground_truth_sha256", "evaluation_protocol"):
        assert theirs[name] == ours[name], name
    raw = {name: decoded(text) for name, text in ours["metrics_raw"].items()}
    assert ours["metrics_sha256"] == get_metrics_hash(raw)
    assert set(theirs) == set(ours)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nerfbaselines_trains_saves_and_renders_xscale(prepared, tmp_path):
    nerfbaselines = pytest.importorskip("nerfbaselines")
    from nerfbaselines.datasets import load_dataset

    spec = nerfbaselines.get_method_spec("xscale")
    settings = dict(text.split("=") for text in SMALL)
    kinds = frozenset(spec["supported_camera_models"])
    data = {
        split: load_dataset(str(prepared.path), split=split, supported_camera_models=kinds)
        for split in ("train", "test")
    }
    test = prepared.split("every7").test
    assert len(data["test"]["image_paths"]) == len(test)
    with nerfbaselines.build_method_class(spec, "python") as kind:
        method = kind(
            train_dataset=data["train"],
            config_overrides={"steps": 4, "device": "cpu", **settings},
        )
        assert method.get_info()["num_iterations"] == 1
        assert method.train_iteration(0)["loss"] > 0
        method.save(str(tmp_path / "checkpoint"))
        again = kind(checkpoint=str(tmp_path / "checkpoint"))
        camera = data["test"]["cameras"][0]
        picture = again.render(camera)["color"]
        np.testing.assert_array_equal(picture, method.render(camera)["color"])
    run = Run.open(tmp_path / "checkpoint/run")
    assert len(run.names("train")) == len(data["train"]["image_paths"])
    own = run.render(prepared.scene.photo(test[0]).camera, ("colour",)).colour.numpy()
    # Their cameras are float32.
    assert np.abs(picture.astype(int) - own).mean() < 1


def test_the_command_line_writes_results(prepared, tmp_path):
    pred = picture_folder(prepared, tmp_path / "mine", noise=8)
    argv = ["giganvs", "score", "--pred", str(pred), "--scene", str(prepared.path),
            "--out", str(tmp_path / "a.json"), "--results", str(tmp_path / "r")]  # fmt: skip
    assert main(argv) == 0
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        "predictions.tar.gz", "results.json",
    ]  # fmt: skip
