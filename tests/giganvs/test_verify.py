"""Leaks that ``verify`` finds: a test photo among the training photos, as it is or saved again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import builders
from xscale import Scene
from xscale.cli.main import main
from xscale.giganvs.prepare import prepare
from xscale.giganvs.verify import verify

MOVED = 2e-3


@pytest.fixture
def twin(tmp_path):
    """A scene whose photo 3 stands nearly where photo 0, a test photo, stands."""
    built = builders.asymmetric_scene(photos=9, width=64, height=48)
    cameras = dict(built.cameras)
    camera = cameras["view_00.png"]
    cameras["view_03.png"] = replace(camera, t=camera.t + np.array([MOVED, 0, 0]))
    return builders.write_colmap(replace(built, cameras=cameras), tmp_path / "office")


def lines(scene, out):
    return verify(prepare(Scene.open(scene), out).path)


def test_a_test_photo_among_the_training_photos_is_a_fault(twin, tmp_path, capsys):
    images = twin / "images"
    shutil.copy(images / "view_00.png", images / "view_03.png")
    found = lines(twin, tmp_path / "root/a")
    assert any("view_00.png, view_03.png are the same file" in line for line in found.faults)
    assert main(["giganvs", "verify", str(tmp_path / "root")]) == 12
    assert "1 of 1 scenes cannot be used" in capsys.readouterr().err


def test_a_test_photo_saved_again_is_named(twin, tmp_path):
    images = twin / "images"
    Image.open(images / "view_00.png").save(tmp_path / "again.jpg", quality=95)
    Image.open(tmp_path / "again.jpg").save(images / "view_03.png")
    found = lines(twin, tmp_path / "root/a")
    assert found.faults == ()
    assert any("view_00.png and view_03.png" in line for line in found.remarks)


def test_neighbours_that_show_something_else_are_no_leak(tmp_path):
    built = builders.asymmetric_scene(photos=9, width=64, height=48)
    scene = builders.write_colmap(built, tmp_path / "office")
    assert not any("W-PHOTO" in line for line in lines(scene, tmp_path / "root/a").remarks)
