"""Photos found damaged when they are decoded: training goes on, told and repeatable."""

import json
import os

import numpy as np
import pytest
import torch

from tests import builders
from xscale import Scene, train
from xscale.errors import DamagedPhotoError, InterruptedRunError, UsageError
from xscale.gbuffer.build import build_surface
from xscale.io.checkpoints import load_newest
from xscale.training import pool as pool_module
from xscale.training.pool import TilePool, TrainPhoto
from xscale.training.settings import PoolSettings

BAD = "view_03.png"
SETTINGS = (
    "optim.batch=256",
    "pool.tile=32",
    "model.grid.log2_table_size=10",
    "model.grid.levels=4",
)


@pytest.fixture
def folder(tmp_path):
    return builders.write_colmap(builders.asymmetric_scene(photos=10), tmp_path / "scene")


def _flip(path):
    """Change one byte of the pixels; a second time repairs it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _train(folder, out, steps, **more):
    said = []
    train(
        Scene.open(folder), out=out, steps=steps, settings=SETTINGS, device="cpu",
        on_stage=said.append, **more,
    )  # fmt: skip
    return said, load_newest(out / "checkpoints")[0].tensors


def test_training_photo_is_left_out_named_recorded_and_stays_out(folder, tmp_path):
    _flip(folder / "images" / BAD)
    said, tensors = _train(folder, tmp_path / "whole", 6)
    (line,) = [words for words in said if words.startswith("W-PHOTO: ")]
    assert f"1 damaged training photos are left out: {BAD} cannot be read" in line
    manifest = json.loads((tmp_path / "whole/manifest.json").read_text())
    (entry,) = manifest["scene"]["left_out"]
    assert entry["photo"] == BAD
    assert entry["reason"].startswith("cannot be read as a picture")
    assert line in manifest["scene"]["warnings"]
    # Stopped and resumed gives the same bits, even where the photo was repaired in between.
    with pytest.raises(InterruptedRunError):
        _train(folder, tmp_path / "parts", 6, on_progress=lambda _: os.kill(os.getpid(), 2))
    _flip(folder / "images" / BAD)
    _train(folder, tmp_path / "parts", 6, resume=True)
    again = load_newest(tmp_path / "parts/checkpoints")[0].tensors
    assert tensors.keys() == again.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, again[name], err_msg=name)
    # And it was not looked at: a new run over the repaired photo is another.
    other = _train(folder, tmp_path / "repaired", 6)[1]
    assert any((other[name] != tensor).any() for name, tensor in tensors.items())


def test_test_photo_and_too_many_stop_before_there_is_a_run(folder, tmp_path):
    _flip(folder / "images/view_04.png")
    with pytest.raises(DamagedPhotoError, match=r"view_04.png: .*never left out"):
        _train(folder, tmp_path / "run", 3)
    _flip(folder / "images/view_04.png")
    for name in ("view_01.png", "view_02.png", "view_03.png"):
        _flip(folder / "images" / name)
    with pytest.raises(DamagedPhotoError, match="3 of 10 photos are damaged"):
        _train(folder, tmp_path / "run", 3)
    assert not (tmp_path / "run").exists()


def test_too_many_found_in_the_first_steps_leave_no_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "_FIRST_PIXELS", 1)
    for name in ("view_01.png", "view_02.png", "view_03.png"):
        _flip(folder / "images" / name)
    said = []
    with pytest.raises(DamagedPhotoError, match="3 of 10 photos are damaged"):
        train(Scene.open(folder), out=tmp_path / "run", steps=20, settings=SETTINGS,
              on_stage=said.append)  # fmt: skip
    assert any(line.startswith("training on") for line in said), "they were found before"
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]


def test_small_pool_meets_damage_on_its_way_and_rays_stay_a_function_of_the_step(folder):
    _flip(folder / "images" / BAD)
    scene = Scene.open(folder)
    surface = build_surface(scene.mesh, "cpu")
    photos = []
    for photo in scene.photos:
        camera = photo.camera.recentred(scene.origin)
        packed = torch.from_numpy(camera.packed())
        photos.append(TrainPhoto(camera.width, camera.height, packed, photo.pixels, photo.name))
    bad = [photo.name for photo in photos].index(BAD)
    settings = PoolSettings(tile=32, refresh_steps=2)
    found = []

    def pool(**more):
        return TilePool(
            surface, photos, settings, 5, 2048, capacity=20,
            on_damage=lambda name, error: found.append((name, error)), **more,
        )  # fmt: skip

    walked = pool()
    for step in range(40):
        rays = walked.draw(step, 200)
        assert not (rays.photo == bad).any()
    assert [name for name, _ in found] == [BAD]
    assert isinstance(found[0][1], DamagedPhotoError)
    jumped = pool(first_step=39, left_out=[BAD])
    for ours, theirs in zip(vars(rays).values(), vars(jumped.draw(39, 200)).values(), strict=True):
        assert ours is theirs if ours is None else torch.equal(ours, theirs)
    assert len(found) == 1
    walked.close()
    jumped.close()


def test_repaired_photos_are_used_again_where_that_is_asked_for(folder, tmp_path):
    _flip(folder / "images" / BAD)
    _train(folder, tmp_path / "run", 3)
    _flip(folder / "images" / BAD)
    _train(folder, tmp_path / "run", 5, resume=True, use_repaired=True)
    state = load_newest(tmp_path / "run/checkpoints")[0].state
    assert state["left_out"] == {}


def test_photo_that_was_empty_at_the_beginning_stays_out_when_repaired(folder, tmp_path):
    path = folder / "images" / BAD
    data = path.read_bytes()
    path.write_bytes(b"")
    _train(folder, tmp_path / "run", 3)
    path.write_bytes(data)
    _train(folder, tmp_path / "run", 5, resume=True)
    state = load_newest(tmp_path / "run/checkpoints")[0].state
    assert state["left_out"] == {BAD: "is empty (0 bytes)"}
    with pytest.raises(UsageError, match=rf"{BAD} was left out when the run began"):
        _train(folder, tmp_path / "run", 7, resume=True, use_repaired=True)
