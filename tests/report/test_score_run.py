"""Scoring a run from Python: what must be known about the scores reaches the file and the page."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from tests import builders
from xscale import Run, Scene, score_run
from xscale.cli.main import main
from xscale.errors import BusyError, SceneError, UsageError
from xscale.io.hashing import with_own_hash
from xscale.io.run_lock import RunLock
from xscale.run.folder import RunFolder
from xscale.training.api import train


@pytest.fixture(scope="module")
def trained(asymmetric, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    scene = Scene.open(builders.write_colmap(asymmetric, folder / "scene"))
    return scene, train(scene, out=folder / "run", steps=2, settings=["optim.batch=64"]).path


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "run")


def _told(run):
    """What the scores file and the page say of a run."""
    scores = json.loads((run / "scores.json").read_text())
    return scores["protocol"]["warnings"], (run / "report.html").read_text()


def test_folders_and_what_is_open_give_the_same_scores(trained, run):
    rendered, judged = [], []
    one = score_run(
        run, on_render=lambda *a: rendered.append(a), on_score=lambda *a: judged.append(a)
    )
    names = Run.open(run).names("test")
    assert [words[:2] for words in rendered] == [(k + 1, len(names)) for k in range(len(names))]
    assert judged == [(k + 1, len(names), name) for k, name in enumerate(names)]
    assert one.warnings == ()
    assert one.report == run / "report.html"
    assert json.loads((run / "scores.json").read_text()) == with_own_hash(one.scores)
    two = score_run(Run.open(run), trained[0])
    assert two.scores == one.scores


def test_a_changed_scene_is_told_in_scores_report_and_python(trained, run, tmp_path, capsys):
    scene = shutil.copytree(trained[0].root, tmp_path / "scene")
    photo = next((scene / "images").glob("*.png"))
    photo.write_bytes(photo.read_bytes() + b"\0")
    heard = []
    scored = score_run(run, scene, on_warning=heard.append)
    assert [line.split(":")[0] for line in heard] == ["W-SCENE"]
    assert scored.warnings == tuple(heard)
    lines, page = _told(run)
    assert heard[0] in lines
    assert "W-SCENE" in page
    assert main(["score", str(run), "--scene", str(scene)]) == 0
    assert capsys.readouterr().err.count("W-SCENE") == 1


def test_an_older_checkpoint_is_told_in_scores_and_report(run):
    folder = RunFolder(run)
    found, _ = folder.load_newest(None)
    folder.save_checkpoint(9, found.tensors, found.state, folder.manifest.run)
    newest = run / "checkpoints/step_00000009.safetensors"
    newest.write_bytes(newest.read_bytes()[:64])
    scored = score_run(run)
    assert any("step_00000009" in line for line in scored.warnings)
    lines, page = _told(run)
    assert scored.warnings[0] in lines
    assert "W-CHECKPOINT" in page


def test_what_is_wrong_is_told_before_anything_is_rendered(trained, run, tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        score_run(run, lpips_weights=tmp_path / "nowhere")
    name = Run.open(run).names("test")[0]
    photos = tuple(photo for photo in trained[0].photos if photo.name != name)
    scene = replace(trained[0], photos=photos)
    with pytest.raises(SceneError, match=name):
        score_run(run, scene)
    assert not (run / "renders/test").exists()


def test_a_log_of_wrong_types_costs_no_score(run):
    lines = [
        "[1, 2]", "3", '"x"', "null", '{"step": "x", "loss": []}', '{"where_time_went": 7}',
        "[" * 5000, '{"checkpoint": {}}', '{"time": null, "psnr": "x", "loss": {}}',
    ]  # fmt: skip
    with (run / "metrics.jsonl").open("a") as log:
        log.write("\n".join(lines) + "\n")
    assert score_run(run).report.exists()


def test_metrics_on_request_reach_file_table_and_page(run, capsys):
    pytest.importorskip("flip_evaluator")
    assert main(["score", str(run), "--metrics", "flip"]) == 0
    scores = json.loads((run / "scores.json").read_text())
    for row in (scores["mean"], *scores["photos"].values()):
        assert 0 < row["flip_covered_cc"] < 1
    assert "FLIP" in capsys.readouterr().out
    assert "FLIP" in (run / "report.html").read_text()


def test_a_metric_of_no_such_name_is_told_before_anything_is_rendered(run, capsys):
    assert main(["score", str(run), "--metrics", "fid"]) == 2
    assert "there are lpips_vgg_unit, dists, flip" in capsys.readouterr().err
    assert not (run / "renders/test").exists()


def test_a_run_is_scored_by_one_process_at_a_time(run, capsys):
    main(["score", str(run)])
    before = (run / "scores.json").read_bytes()
    with RunLock(run / "renders"):
        assert main(["score", str(run), "--two-sided"]) == BusyError.exit_code
    assert "is in use by process" in capsys.readouterr().err
    assert (run / "scores.json").read_bytes() == before
    assert main(["score", str(run)]) == 0


def test_networks_on_request_stand_beside_what_is_always_scored(run, weights_dir, capsys):
    before = score_run(run, lpips_weights=weights_dir).scores
    argv = ["score", str(run), "--lpips-weights", str(weights_dir)]
    assert main([*argv, "--metrics", "lpips_vgg_unit", "_ccq"]) == 0
    scores = json.loads((run / "scores.json").read_text())
    for name, row in scores["photos"].items():
        assert {n: row[n] for n in before["photos"][name]} == before["photos"][name]
        assert 0 < row["lpips_vgg_unit_covered_cc"] != row["lpips_vgg_covered_cc"]
        assert row["psnr_ccq"] >= row["psnr"]
    printed = capsys.readouterr().out
    assert "LPIPS VGG, [0, 1]" in printed
    assert "quadratic colour fit" in printed


def test_a_metric_that_is_always_scored_need_not_be_asked_for(run, capsys):
    assert main(["score", str(run), "--metrics", "psnr"]) == 2
    assert "psnr is always scored" in capsys.readouterr().err


def test_a_run_that_trains_is_scored_beside_it(run):
    with RunLock(run):
        assert score_run(run).report.exists()
