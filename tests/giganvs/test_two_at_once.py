"""Two processes in one folder, and metrics that a finished job lacks."""

from __future__ import annotations

import json

import pytest

from tests.giganvs.test_giganvs import SMALL, picture_folder
from xscale.cli.main import main
from xscale.errors import OutputExistsError
from xscale.giganvs import jobs
from xscale.giganvs.run import run
from xscale.giganvs.score import score
from xscale.report.ranking import read_scores
from xscale.run.folder import RunFolder


def begun(prepared, out, **options):
    return run(prepared.path, out, steps=2, settings=SMALL, device="cpu", **options)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No LPIPS weights in the usual places."""
    monkeypatch.delenv("XSCALE_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-cache"))


def test_a_job_that_another_process_scores_is_refused_in_a_line(prepared, tmp_path, bare, capsys):
    out = tmp_path / "runs"
    (path,) = begun(prepared, out).scores
    path.unlink()
    with RunFolder(path.parent).scoring_lock():
        argv = ["giganvs", "run", str(prepared.path), "--out", str(out), "--steps", "2",
                "--device", "cpu", "--set", *SMALL]  # fmt: skip
        assert main(argv) == 9
    error = [x for x in capsys.readouterr().err.splitlines() if x.startswith("xscale: error")]
    assert len(error) == 1
    assert "is in use by process" in error[0]
    assert not path.exists()
    assert begun(prepared, out).scores == [path]


def test_a_job_that_another_process_ended_meanwhile_is_kept(prepared, tmp_path, bare, monkeypatch):
    (path,) = begun(prepared, tmp_path).scores
    whole = path.read_bytes()
    path.unlink()
    train = jobs.train

    def meanwhile(*arguments, **options):
        train(*arguments, **options)
        path.write_bytes(whole)

    def never(*arguments):
        raise AssertionError("scored again")

    monkeypatch.setattr(jobs, "train", meanwhile)
    monkeypatch.setattr(jobs, "_render_and_score", never)
    outcome = begun(prepared, tmp_path)
    assert (outcome.failed, outcome.scores) == ({}, [path])
    assert path.read_bytes() == whole


def test_scores_that_appear_while_others_are_made_are_kept(prepared, tmp_path, bare):
    pred, out = picture_folder(prepared, tmp_path / "pred", 8), tmp_path / "out.json"
    with pytest.raises(OutputExistsError, match="already exists"):
        score(pred, prepared, out=out, progress=lambda name: out.write_text("theirs"))
    assert out.read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["out.json"]


def test_a_finished_job_is_scored_again_for_weights_and_metrics_it_lacks(
    prepared, tmp_path, bare, weights_dir, monkeypatch
):
    out = tmp_path / "runs"
    (path,) = begun(prepared, out).scores
    before = read_scores(path)
    assert before["mean"]["lpips_vgg"] is None
    trained = (path.parent / "manifest.json").stat().st_mtime_ns
    outcome = begun(prepared, out, lpips_weights=weights_dir, extras=("_ccq",))
    assert (outcome.failed, outcome.kept) == ({}, 0)
    after = json.loads(path.read_text())
    assert after["mean"]["lpips_vgg"] > 0
    assert after["mean"]["psnr"] == before["mean"]["psnr"]
    assert "lpips_vgg_unit" not in after["mean"]
    assert (path.parent / "manifest.json").stat().st_mtime_ns == trained
    assert begun(prepared, out, lpips_weights=weights_dir, extras=("_ccq",)).kept == 1
    # Fewer metrics than the file has, or weights that are gone, cost nothing that is there.
    assert begun(prepared, out, extras=()).kept == 1
