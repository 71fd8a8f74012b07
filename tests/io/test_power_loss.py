"""Power losses at any moment: what was saved is there, and nothing torn is taken for whole."""

from pathlib import Path

import numpy as np
import pytest

from tests.io.power_loss import Recorder, recorded, states
from xscale.errors import IntegrityError
from xscale.io import checkpoints, storage
from xscale.io.checkpoints import load_newest, save_checkpoint

EACH = 24
"""States tried for each moment."""


def _tensors(step):
    rng = np.random.default_rng(step)
    return {"field.table": rng.random((40, 8)), "shader.weights": rng.random(70)}


def _saved(folder, monkeypatch, steps=(10, 20, 30, 40)):
    folder.mkdir()
    with recorded(folder, monkeypatch.setattr) as recorder:
        for step in steps:
            save_checkpoint(folder, step, _tensors(step), {"seconds": step})
            recorder.promise(step)
    return recorder


def _lost(recorder, scratch):
    """Return what was promised in states of the folder and is not there, or is not whole."""
    found = []
    for moment, folder in states(recorder, scratch, EACH):
        try:
            checkpoint, _ = load_newest(folder)
        except IntegrityError as error:
            checkpoint = None
            if moment.returned is None:
                continue  # the first one was on its way: nothing was promised
            found.append(str(error))
        step = 0 if checkpoint is None else checkpoint.step
        if step < (moment.returned or 0):
            found.append(f"step {moment.returned} was saved, {step} loads")
        if checkpoint is not None:
            wanted = _tensors(step)
            same = all(np.array_equal(checkpoint.tensors[name], wanted[name]) for name in wanted)
            if not same or checkpoint.state != {"seconds": step}:
                found.append(f"step {step} loads with other numbers")
    return found


def test_power_loss_keeps_every_checkpoint_that_was_saved(tmp_path, monkeypatch):
    recorder = _saved(tmp_path / "checkpoints", monkeypatch)
    assert len(recorder.moments) > 30
    assert _lost(recorder, tmp_path / "after") == []


@pytest.mark.parametrize("left_out", ["files", "folders", "hash"])
def test_power_loss_is_noticed_where_a_protection_is_missing(tmp_path, monkeypatch, left_out):
    """The test above can fail: each protection is taken away in turn."""
    if left_out == "folders":
        monkeypatch.setattr(storage, "sync_folder", lambda folder: None)
    else:
        true = Recorder.flushed
        monkeypatch.setattr(Recorder, "flushed", lambda *a: _is_file(a[1]) or true(*a))
    if left_out == "hash":
        monkeypatch.setattr(checkpoints, "check_whole", lambda *_: None)
    recorder = _saved(tmp_path / "checkpoints", monkeypatch)
    lost = _lost(recorder, tmp_path / "after")
    assert any("other numbers" in line for line in lost) if left_out == "hash" else lost


def _is_file(handle):
    return Path(f"/proc/self/fd/{handle}").is_file()
