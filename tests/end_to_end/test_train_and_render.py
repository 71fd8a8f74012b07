import json

import numpy as np
import pytest
import torch

import xscale
from tests.builders import BACKGROUND
from xscale.errors import InputError, IntegrityError, OutputExistsError, UsageError
from xscale.gbuffer.build import build_surface
from xscale.io.checkpoints import load_newest

SMALL = [
    "optim.batch=2048",
    "model.grid.levels=8",
    "model.grid.log2_table_size=12",
    "model.shader.hidden=16",
]


def _weights(run_path):
    return load_newest(run_path / "checkpoints")[0].tensors


def test_a_few_steps_learn_the_scene(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=200, settings=SMALL)
    name = run.names("test")[0]
    frame = run.render(run.camera(name), outputs=("colour", "depth"))
    truth = torch.from_numpy(scene.photo(name).read()).float()
    error = (frame.colour.float() - truth)[frame.coverage].square().mean() / 255**2
    assert -10 * torch.log10(error) > 20
    assert torch.isinf(frame.depth[~frame.coverage]).all()
    assert (frame.colour[~frame.coverage].float() - BACKGROUND).abs().mean() < 8


def test_resume_ends_with_the_same_bits(asymmetric_folder, trained_through_and_in_parts):
    scene = xscale.Scene.open(asymmetric_folder)
    trained_through_and_in_parts(scene, stop=12, steps=24, settings=SMALL)


def test_run_renders_without_the_photos_and_the_scene(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=5, settings=SMALL)
    before = run.render(run.camera(run.names("all")[0])).colour
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    asymmetric_folder.rename(tmp_path / "gone")
    after = xscale.Run.open(moved)
    assert torch.equal(after.render(after.camera(after.names("all")[0])).colour, before)


def test_resume_with_another_setting_is_refused_and_named(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    xscale.train(scene, out=tmp_path / "run", steps=2, settings=SMALL)
    with pytest.raises(UsageError, match=r"optim\.loss is l1 in the run, l2 now"):
        xscale.train(
            scene, out=tmp_path / "run", steps=4, settings=[*SMALL, "optim.loss=l2"], resume=True
        )


def test_full_folder_is_never_overwritten(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputExistsError, match="already exists"):
        xscale.train(scene, out=tmp_path, steps=2, settings=SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt", "scene"]


def test_damaged_mesh_of_a_run_is_named(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=2, settings=SMALL)
    file = run.path / "mesh.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    broken = xscale.Run.open(run.path)
    with pytest.raises(IntegrityError, match=r"mesh\.safetensors"):
        broken.render(broken.camera(broken.names("all")[0]))


def test_run_holds_the_clusters_and_a_resumed_training_maps_them(
    asymmetric_folder, tmp_path, monkeypatch
):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=2, settings=SMALL)
    built = build_surface(scene.mesh)
    for name, tensor in run.surface.tensors().items():
        # Which sides are surface is what the photos say.
        assert name == "sides" or torch.equal(tensor, getattr(built, name))

    def never(*arguments):
        raise AssertionError("clusters were built again")

    monkeypatch.setattr("xscale.gbuffer.build.cluster_mesh", never)
    again = xscale.Scene.open(asymmetric_folder)
    xscale.train(again, out=tmp_path / "run", steps=4, settings=SMALL, resume=True)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"is not an xscale run: manifest\.json is missing"):
        xscale.Run.open(tmp_path)


def test_photos_of_test_views_never_reach_the_training(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    held_out = scene.split().test
    first = xscale.train(scene, out=tmp_path / "a", steps=10, settings=SMALL)
    from tests.builders import save_photo

    noise = np.random.default_rng(0)
    for name in held_out:
        shape = scene.photo(name).read().shape
        save_photo(scene.photo(name).path, noise.integers(0, 256, shape, dtype=np.uint8))
    noisy = xscale.Scene.open(asymmetric_folder)
    second = xscale.train(noisy, out=tmp_path / "b", steps=10, settings=SMALL)
    for name in held_out:
        pictures = [run.render(run.camera(name)).colour for run in (first, second)]
        assert torch.equal(*pictures)


def test_metrics_log_holds_where_the_time_went(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    run = xscale.train(scene, out=tmp_path / "run", steps=3, settings=SMALL)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    spent = lines[-1]["where_time_went"]
    assert set(spent) >= {"draw", "encode", "shade", "table", "waiting for tiles"}
    assert sum(spent.values()) == pytest.approx(lines[-1]["time"], abs=0.02)
