"""The fused step and the chain of single ops are one training."""

import numpy as np
import pytest

import xscale
from xscale.io.checkpoints import load_newest
from xscale.training import loop, steps

SMALL = ["optim.batch=1500", "model.grid.levels=6", "model.grid.log2_table_size=14"]
FILM = ["optim.dense_table=false", "model.grid.levels=4"]


def _tensors(run):
    return load_newest(run.path / "checkpoints")[0].tensors


def _stop_at(monkeypatch, step, total):
    monkeypatch.setattr(loop.Goal, "share", lambda self, at, _: 1.0 if at >= step else at / total)


@pytest.mark.parametrize(("preset", "more"), [("default", []), ("paper", FILM)])
def test_a_run_begun_by_the_chain_goes_on_fused_to_the_same_bits(
    asymmetric_folder, tmp_path, monkeypatch, preset, more
):
    scene = xscale.Scene.open(asymmetric_folder)
    options = {"preset": preset, "settings": [*SMALL, *more], "steps": 12}
    fused = xscale.train(scene, out=tmp_path / "fused", **options)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "trains_fused", lambda *_: False)
        chain = xscale.train(scene, out=tmp_path / "chain", **options)
        _stop_at(patch, 5, 12)
        xscale.train(scene, out=tmp_path / "both", **options)
    both = xscale.train(scene, out=tmp_path / "both", resume=True, **options)
    one, two, three = _tensors(fused), _tensors(chain), _tensors(both)
    assert one.keys() == two.keys() == three.keys()
    assert (one["adam.row_steps"] > 1).any()
    for name in one:
        assert np.array_equal(one[name], two[name]), name
        assert np.array_equal(one[name], three[name]), name


def test_the_first_step_is_shown_at_once(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    shown = []
    xscale.train(scene, out=tmp_path / "run", steps=2, settings=SMALL, on_progress=shown.append)
    assert shown[0].step == 1
    assert shown[0].rays_per_second > 0
