"""Losses that are not finite, storage that fails, and what a training then does."""

import errno
import json
import os
import re
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

import xscale
from xscale.errors import NumericsError, StorageError
from xscale.io import checkpoints, storage
from xscale.io.checkpoints import load_newest, save_checkpoint
from xscale.run.folder import RunFolder
from xscale.training import loop, session
from xscale.training.divergence import MOST_OF_RECENT, StepWatch
from xscale.training.readback import StepLosses
from xscale.training.trainer import Trainer

SMALL = ["optim.batch=500", "model.grid.levels=4", "model.grid.log2_table_size=10"]
NAN = float("nan")


class Poisoned(Trainer):
    """Numbers of the model become NaN before some steps, and are mended after where asked."""

    steps: ClassVar[set] = set()
    mended = True
    made: ClassVar[list] = []

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        Poisoned.made.append(self)

    def train_step(self, progress):
        if self.step not in self.steps:
            return super().train_step(progress)
        bias = self.model.shader.weights[-1]
        kept = bias.clone()
        bias.fill_(NAN)
        found = super().train_step(progress)
        if self.mended:
            bias.copy_(kept)
        return found


@pytest.fixture
def poisoned(monkeypatch):
    monkeypatch.setattr(session, "Trainer", Poisoned)
    monkeypatch.setattr(loop, "CHECKPOINT_STEPS", 20)
    monkeypatch.setattr(loop, "_LOG_SECONDS", 0)
    monkeypatch.setattr(Poisoned, "made", [])
    return partial(monkeypatch.setattr, Poisoned)


def _train(folder, out, steps=60, **options):
    scene = xscale.Scene.open(folder)
    return xscale.train(scene, out=out, steps=steps, settings=SMALL, **options)


def _finite(run):
    tensors = load_newest(run / "checkpoints")[0].tensors
    return all(np.isfinite(a).all() for a in tensors.values() if a.dtype.kind == "f")


def test_a_step_without_a_finite_loss_moves_nothing_and_is_counted(
    asymmetric_folder, tmp_path, poisoned
):
    poisoned("steps", {13})
    said = []
    run = _train(asymmetric_folder, tmp_path / "run", on_stage=said.append)
    line = "W-NUMERICS: the loss is not finite at step 14: such steps are skipped"
    assert said.count(line) == 1
    assert RunFolder(run.path).manifest.scene.warnings[-1] == line
    logged = [line for line in RunFolder(run.path).logged() if "psnr" in line]
    assert logged[-1]["skipped_steps"] == 1
    assert _finite(run.path)
    assert len(Poisoned.made) == 1  # it did not go back


def test_a_model_that_is_lost_comes_back_from_the_newest_checkpoint(
    asymmetric_folder, tmp_path, poisoned
):
    poisoned("steps", {45})
    poisoned("mended", False)
    first = Poisoned.__init__

    def only_the_first_is_poisoned(self, *args, **options):
        first(self, *args, **options)
        if len(Poisoned.made) > 1:
            self.steps = set()

    poisoned("__init__", only_the_first_is_poisoned)
    said = []
    run = _train(asymmetric_folder, tmp_path / "run", steps=90, on_stage=said.append)
    lost, second = Poisoned.made
    assert lost.step == 45 + MOST_OF_RECENT + 1
    assert second.step == 90
    assert second.rate_factor == 0.5
    assert second.pool.seed != lost.pool.seed
    # A checkpoint that is due while the one before is being written is put off.
    form = r".*: back to step (20|40|60), with 0\.5 of the learning rates"
    back = [line for line in said if re.fullmatch(form, line)]
    assert len(back) == 1
    assert back[0] in RunFolder(run.path).manifest.scene.warnings
    newest = load_newest(run.path / "checkpoints")[0]
    assert newest.state["returns"] == 1
    assert _finite(run.path)
    # A resumed run keeps the lower rates.
    _train(asymmetric_folder, tmp_path / "run", steps=95, resume=True)
    assert Poisoned.made[-1].rate_factor == 0.5


def test_a_training_that_always_diverges_stops_and_keeps_its_good_checkpoint(
    asymmetric_folder, tmp_path, poisoned
):
    poisoned("steps", {30})
    poisoned("mended", False)
    with pytest.raises(NumericsError, match="also after 2 returns; lower --set") as caught:
        _train(asymmetric_folder, tmp_path / "run", steps=100)
    assert caught.value.exit_code == 7
    assert [t.rate_factor for t in Poisoned.made] == [1, 0.5, 0.25]
    assert load_newest(tmp_path / "run" / "checkpoints")[0].step == 20
    assert _finite(tmp_path / "run")
    report = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert any(t["not_finite"] for name, t in report["tensors"].items() if "shader" in name)


def test_numbers_that_no_step_looks_at_are_never_published(asymmetric_folder, tmp_path, poisoned):
    """The loss stays finite: only the checkpoint's own check can find it."""
    poison = Trainer.state

    def state(self, *, copy=True):
        tensors = poison(self, copy=copy)
        if len(Poisoned.made) == 1 and self.step == 40:
            tensors["adam.second.field.table"][7, 0] = NAN
        return tensors

    poisoned("state", state)
    run = _train(asymmetric_folder, tmp_path / "run")
    assert len(Poisoned.made) == 2
    assert load_newest(run.path / "checkpoints")[0].step == 60
    assert _finite(run.path)
    assert "adam.second.field.table has NaN" in RunFolder(run.path).manifest.scene.warnings[-1]


def test_a_device_tells_of_bad_steps_late_and_in_bulk():
    said = []
    watch = StepWatch(said.append)
    watch.add(StepLosses(14, 0.1, 0.1, bad=2), 16)
    watch.add(None, 17)
    watch.add(StepLosses(8, 0.1, 0.1, bad=10), 34)
    assert len(said) == 1
    with pytest.raises(NumericsError, match="more than 10 of 1000 steps"):
        watch.add(StepLosses(15, 0.1, 0.1, bad=11), 50)


def test_a_fit_that_falls_or_never_rises_is_said_once():
    said = []
    watch = StepWatch(said.append)
    for step in range(0, 2000, 100):
        watch.look(step, 9.0)
    assert [line.partition(":")[0] for line in said] == ["W-STALL"]
    said.clear()
    watch = StepWatch(said.append)
    for step in range(0, 3000, 100):
        watch.look(step, 10 + step / 100 if step < 1000 else 12.0)
    assert [line.partition(":")[0] for line in said] == ["W-DIVERGE"]
    said.clear()
    watch = StepWatch(said.append)
    for step in range(0, 3000, 100):
        watch.look(step, min(10 + step / 100, 24) - (7 if step == 1500 else 0))
    assert said == []


@pytest.fixture
def full_for(monkeypatch):
    """Return a function: files whose name has a word find no room, for the first so many times."""

    def refuse(word, times=10**9):
        left = [times]

        def no_room(path):
            if word in os.fspath(path) and left[0] > 0:
                left[0] -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))

        opened = os.open

        def guarded(path, flags, *args, **options):
            if flags & os.O_CREAT and isinstance(path, str | os.PathLike):
                no_room(path)
            return opened(path, flags, *args, **options)

        monkeypatch.setattr(storage.os, "open", guarded)

    monkeypatch.setattr(loop, "CHECKPOINT_STEPS", 10)
    monkeypatch.setattr(loop, "_LOG_SECONDS", 0)
    return refuse


@pytest.mark.parametrize("word", ["metrics.jsonl", "previews"])
def test_a_log_or_a_preview_without_room_ends_no_training(
    asymmetric_folder, tmp_path, full_for, word
):
    full_for(word)
    said = []
    run = _train(asymmetric_folder, tmp_path / "run", on_stage=said.append)
    assert load_newest(run.path / "checkpoints")[0].step == 60
    assert [line for line in said if "W-LOG" in line and "No space left" in line]
    assert sum("W-LOG" in line for line in said) == 1


def test_saves_without_room_are_tried_again(asymmetric_folder, tmp_path, full_for):
    full_for("checkpoints/.tmp-step_", times=2)
    said = []
    run = _train(asymmetric_folder, tmp_path / "run", on_stage=said.append)
    assert sum("W-SAVE" in line for line in said) == 2
    assert load_newest(run.path / "checkpoints")[0].step == 60
    assert any("W-SAVE" in line for line in RunFolder(run.path).manifest.scene.warnings)


def test_a_training_stops_when_nothing_can_be_saved_for_long(asymmetric_folder, tmp_path, full_for):
    full_for("checkpoints/.tmp-step_")
    with pytest.raises(StorageError, match="No space left") as caught:
        _train(asymmetric_folder, tmp_path / "run", steps=10000)
    assert caught.value.exit_code == 4
    assert not list((tmp_path / "run").rglob(".tmp-*"))


def test_a_training_that_the_disk_cannot_hold_is_refused_before_it_begins(
    asymmetric_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "free_bytes", lambda path: 20_000)
    with pytest.raises(StorageError, match=r"the checkpoints take \d+ MB, 0 MB are free") as caught:
        _train(asymmetric_folder, tmp_path / "run")
    assert caught.value.exit_code == 4
    assert not (tmp_path / "run").exists()


def _tensors(value):
    return {"table": np.full((64, 2), value, np.float32)}


def test_storage_that_damages_a_save_costs_no_older_checkpoint(tmp_path, monkeypatch):
    for step in (10, 20):
        save_checkpoint(tmp_path, step, _tensors(step), {})
    write = checkpoints._write

    def damaged(path, tensors):
        written = write(path, tensors)
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        return written

    monkeypatch.setattr(checkpoints, "_write", damaged)
    with pytest.raises(StorageError, match="reads back differently"):
        save_checkpoint(tmp_path, 30, _tensors(30), {})
    assert load_newest(tmp_path)[0].step == 20
    assert sorted(p.name for p in tmp_path.glob("*.json")) == [
        "step_00000010.json",
        "step_00000020.json",
    ]


def test_a_full_disk_costs_the_second_newest_checkpoint_and_never_the_newest(tmp_path, full_for):
    for step in (10, 20):
        save_checkpoint(tmp_path, step, _tensors(step), {})
    full_for("step_00000030", times=1)
    save_checkpoint(tmp_path, 30, _tensors(30), {})
    assert [p.stem for p in sorted(tmp_path.glob("*.json"))] == ["step_00000020", "step_00000030"]
    full_for("step_00000040")
    with pytest.raises(StorageError, match="No space left"):
        save_checkpoint(tmp_path, 40, _tensors(40), {})
    assert load_newest(tmp_path)[0].step == 30


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_a_checkpoint_with_numbers_that_are_not_finite_is_not_written(tmp_path, bad):
    tensors = _tensors(1.0)
    tensors["table"][5, 1] = bad
    with pytest.raises(NumericsError, match="tensor table has NaN or infinite numbers at step 10"):
        save_checkpoint(tmp_path, 10, tensors, {})
    assert not list(tmp_path.iterdir())
