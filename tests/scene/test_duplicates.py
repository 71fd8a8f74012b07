"""Photos that are there twice, and test photos that are trained on."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import builders
from xscale import Scene, train
from xscale.errors import ListError
from xscale.scene.checks.duplicates import check_leaks, duplicates_of, near_leaks, remarks


def test_equal_files_are_grouped_and_a_leak_into_the_test_photos_is_named(asymmetric_folder):
    images = asymmetric_folder / "images"
    assert not duplicates_of(Scene.open(asymmetric_folder).photos)
    data = (images / "view_01.png").read_bytes()
    (images / "view_03.png").write_bytes(data)
    # As long, yet another file: only the bytes count.
    (images / "view_05.png").write_bytes(data[:-1] + b"\0")
    groups = duplicates_of(Scene.open(asymmetric_folder).photos)
    assert groups == [["view_01.png", "view_03.png"]]
    (line,) = remarks(groups, {"view_00.png"})
    assert line.startswith("W-PHOTO-SAME: view_01.png, view_03.png are the same file; ")
    (line,) = remarks(groups, {"view_01.png"})
    assert line.startswith("W-PHOTO-LEAK: view_01.png, view_03.png are the same file, in training")


def _saved_again(folder, source, copy, shift=0):
    """Put a photo and its camera there a second time, saved as JPEG, its numbers shifted."""
    picture = np.array(Image.open(folder / "images" / source)).astype(int) + shift
    name = folder / "images" / copy
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(name, "JPEG", quality=95)


def test_picture_saved_again_is_told_by_camera_and_pixels(asymmetric, tmp_path):
    cameras = dict(asymmetric.cameras)
    cameras["view_90.png"] = cameras["view_01.png"]
    folder = builders.write_colmap(replace(asymmetric, cameras=cameras), tmp_path / "scene")
    _saved_again(folder, "view_01.png", "view_90.png")
    scene = Scene.open(folder)
    assert near_leaks(scene.photos, {"view_90.png"}) == [("view_90.png", "view_01.png")]
    assert near_leaks(scene.photos, {"view_01.png"}) == [("view_01.png", "view_90.png")]
    assert near_leaks(scene.photos, {"view_02.png"}) == []
    said = []
    check_leaks(scene.photos, {"view_90.png"}, False, said.append)
    (line,) = said
    assert "1 test photos are training photos saved again, or nearly: view_90.png and view" in line
    # Another exposure from the same tripod is another photo.
    _saved_again(folder, "view_01.png", "view_90.png", shift=9)
    assert near_leaks(Scene.open(folder).photos, {"view_90.png"}) == []


def test_training_refuses_a_test_photo_among_its_photos(asymmetric_folder, tmp_path):
    images = asymmetric_folder / "images"
    (images / "view_03.png").write_bytes((images / "view_00.png").read_bytes())
    scene = Scene.open(asymmetric_folder)
    with pytest.raises(ListError, match=r"view_00.png, view_03.png are the same .*--allow-leak"):
        train(scene, out=tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()
    said = []
    check_leaks(scene.photos, scene.split().test, True, said.append)
    assert said[0].startswith("W-PHOTO-LEAK: ")
