"""Hardware that computes wrong: a flipped bit of a result is noticed before a checkpoint."""

import pytest
import torch

import xscale
from xscale.errors import DeviceError
from xscale.io.checkpoints import load_newest
from xscale.model.model import Model
from xscale.run.folder import RunFolder
from xscale.training import loop

SMALL = ["optim.batch=500", "model.grid.levels=4", "model.grid.log2_table_size=10"]
STEPS = 60


class Flips:
    """Flips the lowest bit of one number in some of the calls of ``Model.colour``."""

    def __init__(self, monkeypatch, calls):
        self.count = 0
        true = Model.colour

        def colour(model, *arguments):
            found = true(model, *arguments)
            if self.count in calls:
                found.view(torch.int32)[3, 1] ^= 1
            self.count += 1
            return found

        monkeypatch.setattr(loop, "CHECKPOINT_STEPS", 20)
        monkeypatch.setattr(Model, "colour", colour)


def _train(folder, out, said):
    scene = xscale.Scene.open(folder)
    return xscale.train(scene, out=out, steps=STEPS, settings=SMALL, on_stage=said.append)


def test_hardware_that_computes_wrong_stops_before_it_writes_a_checkpoint(
    asymmetric_folder, tmp_path, monkeypatch
):
    # The first checkpoint's pair is equal; both pairs of the second differ in one bit.
    Flips(monkeypatch, {3, 4})
    with pytest.raises(DeviceError, match="different bits for the same points") as caught:
        _train(asymmetric_folder, tmp_path / "run", [])
    assert caught.value.exit_code == 6
    assert load_newest(tmp_path / "run" / "checkpoints")[0].step < STEPS


def test_a_difference_that_does_not_come_again_is_said_and_kept(
    asymmetric_folder, tmp_path, monkeypatch
):
    flips, said = Flips(monkeypatch, {3}), []
    run = _train(asymmetric_folder, tmp_path / "run", said)
    assert flips.count > 4
    told = [line for line in said if line.startswith("W-HARDWARE: cpu gave different bits")]
    assert len(told) == 1
    assert told[0] in RunFolder(run.path).manifest.scene.warnings
    assert load_newest(run.path / "checkpoints")[0].step == STEPS
