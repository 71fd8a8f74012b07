"""A run finds its own scene from any folder, and never scores another one of the same name."""

import shutil

import numpy as np
import pytest

from tests import builders
from xscale.io.mesh.ply import encode_ply
from xscale.run.manifest import TrainedScene
from xscale.scene.scene import Scene
from xscale.scoring import _trained_scene


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A scene that was typed as ``scene``, with a mesh typed beside it, in a folder left since."""
    home = tmp_path / "home"
    built = builders.asymmetric_scene(photos=3)
    builders.write_colmap(built, home / "scene")
    (home / "scene/mesh.ply").rename(home / "model.ply")
    monkeypatch.chdir(home)
    scene = Scene.open("scene", mesh="model.ply")
    record = TrainedScene(
        fingerprint=scene.fingerprint(), layout="colmap", root="scene",
        absolute=str(home / "scene"), options=scene.options, photos=3, downscale=1.0,
    )  # fmt: skip
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return record, home


def test_scene_is_found_from_another_folder_with_its_typed_options(trained):
    record, home = trained
    scene = _trained_scene(record, {})
    assert scene.root == home / "scene"
    assert scene.fingerprint() == record.fingerprint


def test_another_scene_of_that_name_is_not_taken(trained, tmp_path):
    record, home = trained
    other = builders.asymmetric_scene(photos=2)
    builders.write_colmap(other, tmp_path / "elsewhere/scene")
    (tmp_path / "elsewhere/model.ply").write_bytes(encode_ply(other.vertices * 2, other.faces))
    assert _trained_scene(record, {}).root == home / "scene"


def test_scene_that_was_moved_along_is_found_as_typed(trained, tmp_path):
    record, home = trained
    shutil.move(home / "scene", tmp_path / "elsewhere/scene")
    shutil.move(home / "model.ply", tmp_path / "elsewhere/model.ply")
    scene = _trained_scene(record, {})
    assert scene.fingerprint() == record.fingerprint
    assert np.isfinite(scene.mesh.origin).all()
