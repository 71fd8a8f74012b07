"""Run folders that are moved or removed while a training writes into them; resumed totals."""

import shutil

import pytest

import xscale
from xscale import ops
from xscale.errors import StorageError
from xscale.io.checkpoints import load_newest
from xscale.run.folder import RunFolder
from xscale.training import loop, session
from xscale.training.trainer import Trainer

SMALL = ["optim.batch=500", "model.grid.levels=4", "model.grid.log2_table_size=10"]


def _train(folder, out, **options):
    return xscale.train(xscale.Scene.open(folder), out=out, settings=SMALL, **options)


@pytest.mark.parametrize("done", ["moved", "removed"])
def test_a_training_ends_in_a_folder_that_is_not_its_own_any_more(
    asymmetric_folder, tmp_path, monkeypatch, done
):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    class Moving(Trainer):
        def train_step(self, progress):
            saved = sorted(p.name for p in (run / "checkpoints").glob("*")) if run.exists() else []
            # Not while a checkpoint is being written: its files would come back.
            if len(saved) >= 2 and not any(name.startswith(".") for name in saved):
                run.rename(elsewhere)
                if done == "removed":
                    shutil.rmtree(elsewhere)
            return super().train_step(progress)

    monkeypatch.setattr(loop, "CHECKPOINT_STEPS", 50)
    monkeypatch.setattr(session, "Trainer", Moving)
    with pytest.raises(StorageError, match=f"was {done}") as caught:
        _train(asymmetric_folder, run, steps=200)
    assert caught.value.exit_code == 4
    assert not run.exists()
    if done == "moved":
        assert str(elsewhere) in caught.value.advice
        monkeypatch.setattr(session, "Trainer", Trainer)
        _train(asymmetric_folder, elsewhere, steps=80, resume=True)
        assert load_newest(elsewhere / "checkpoints")[0].step == 80


def test_a_resumed_training_says_what_another_total_changes(asymmetric_folder, tmp_path):
    said = []
    _train(asymmetric_folder, tmp_path / "run", steps=10)
    _train(asymmetric_folder, tmp_path / "run", steps=10, resume=True, on_stage=said.append)
    assert "all 10 steps are already done" in said
    _train(asymmetric_folder, tmp_path / "run", steps=20, resume=True, on_stage=said.append)
    line = "W-SCHEDULE: learning rates follow 20 steps from here on; before it was 10 steps"
    assert said.count(line) == 1
    assert line in RunFolder(tmp_path / "run").manifest.scene.warnings
    _train(asymmetric_folder, tmp_path / "run", minutes=1e-4, resume=True, on_stage=said.append)
    assert "all 0.0001 minutes are already done" in said


def test_a_training_resumed_by_other_versions_says_that_its_bits_may_differ(
    asymmetric_folder, tmp_path, monkeypatch
):
    _train(asymmetric_folder, tmp_path / "run", steps=10)
    said = []
    monkeypatch.setattr(ops, "isa", lambda: "avx9")
    _train(asymmetric_folder, tmp_path / "run", steps=12, resume=True, on_stage=said.append)
    (line,) = [line for line in said if line.startswith("W-VERSIONS")]
    assert "kernels" in line
    assert "avx9" in line
    assert line in RunFolder(tmp_path / "run").manifest.scene.warnings
