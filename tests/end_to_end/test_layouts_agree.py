"""A real scene in every layout gives the same training: to the last bit where the layout holds the
same numbers, and to rounding where it holds others (positions in place of translations)."""

import numpy as np
import pytest

from xscale import Scene, train
from xscale.io.checkpoints import load_newest
from xscale.scene.layouts.convert import convert

SETTINGS = ("optim.batch=4096", "model.grid.log2_table_size=14", "model.grid.levels=8")
LAYOUTS = {"text": "colmap", "mvsnet": "mvsnet", "nerfstudio": "nerfstudio"}


def _trained(folder, out):
    run = train(
        Scene.open(folder), out=out, steps=40, seed=0, downscale=8, settings=SETTINGS, device="cpu"
    )
    names = run.names("test")
    frames = [run.render(run.camera(name)).colour.numpy().astype(int) for name in names]
    return load_newest(out / "checkpoints")[0].tensors, frames


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["fountain", "monstree", "brighton"])
def test_layouts_of_a_scene_give_the_same_training(scenes, tmp_path, name):
    tensors, frames = _trained(scenes / name, tmp_path / "run-binary")
    scene = Scene.open(scenes / name)
    for layout, target in LAYOUTS.items():
        folder = convert(scene, tmp_path / layout, target, text=layout == "text", photos="link")
        found, seen = _trained(folder, tmp_path / f"run-{layout}")
        if layout != "nerfstudio":
            for key, tensor in tensors.items():
                np.testing.assert_array_equal(found[key], tensor, err_msg=f"{layout} {key}")
        for one, other in zip(frames, seen, strict=True):
            off = np.abs(one - other)
            assert off.max() <= (0 if layout != "nerfstudio" else 12)
            assert off.mean() < 0.02
