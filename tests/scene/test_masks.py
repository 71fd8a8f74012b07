"""Masks of other sizes, with greys, missing, spare, or black all over."""

import numpy as np
import pytest
from PIL import Image

from tests import builders
from xscale import Scene
from xscale.errors import DamagedPhotoError, MaskError
from xscale.training.left_out import check_test_photos

PHOTOS = 16


@pytest.fixture
def folder(tmp_path):
    return builders.write_colmap(builders.asymmetric_scene(photos=PHOTOS), tmp_path / "scene")


def _mask(folder, values, name="view_03.png"):
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(folder / "masks" / name)


def _warnings(folder, code):
    return [line for line in Scene.open(folder).warnings if line.startswith(code)]


def test_mask_of_half_or_double_size_is_scaled_and_said(folder, rng):
    small = rng.integers(0, 2, (32, 56)) * 255
    _mask(folder, small)
    photo = Scene.open(folder).photo("view_03.png")
    np.testing.assert_array_equal(photo.read_mask(), np.kron(small, np.ones((2, 2))) > 0)
    large = np.full((128, 224), 255)
    large[10, 20] = large[11, 31] = 0
    _mask(folder, large)
    photo = Scene.open(folder).photo("view_03.png")
    assert np.argwhere(~photo.read_mask()).tolist() == [[5, 10], [5, 15]]
    assert (
        "1 masks are scaled to their photos' size: view_03.png" in _warnings(folder, "W-MASK-S")[0]
    )
    _mask(folder, np.full((63, 112), 255))
    with pytest.raises(MaskError, match="is 112 x 63, its photo is 112 x 64"):
        Scene.open(folder)


def test_missing_and_spare_masks_are_counted_and_named(folder):
    assert not _warnings(folder, "W-MASK")
    _mask(folder, np.full((64, 112), 255))
    _mask(folder, np.full((64, 112), 255), "view_3.png")
    (line,) = _warnings(folder, "W-MASK-MISSING")
    assert "15 of 16 photos have no mask and are used whole: view_00.png" in line
    (line,) = _warnings(folder, "W-MASK-UNUSED")
    assert "1 files in masks/ are not a photo's mask: view_3.png" in line


def test_greys_are_kept_and_said_and_white_masks_are_not(folder):
    values = np.full((64, 112), 255)
    values[:5] = 0
    _mask(folder, values)
    scene = Scene.open(folder)
    assert scene.photo("view_03.png").read_mask().sum() == 59 * 112
    assert scene.notes.lines() == []
    values[5:9] = 1
    _mask(folder, values)
    scene = Scene.open(folder)
    assert scene.photo("view_03.png").read_mask().sum() == 59 * 112
    (line,) = scene.notes.lines()
    assert line == "W-MASK-GREY: 1 masks have greys; only black is left out: view_03.png"


@pytest.mark.parametrize("how", ["file", "alpha", "together"])
def test_photo_that_its_mask_leaves_nothing_of_is_left_out_or_stops(folder, how):
    half = np.zeros((64, 112), np.uint8)
    if how != "file":
        path = folder / "images" / "view_03.png"
        half[:32] = 255 if how == "together" else 0
        Image.fromarray(np.dstack([np.array(Image.open(path)), half])).save(path)
    if how != "alpha":
        _mask(folder, 255 - half if how == "together" else half)
    scene = Scene.open(folder)
    with pytest.raises(DamagedPhotoError, match=r"view_03.png: its mask .*leaves nothing of it"):
        scene.photo("view_03.png").load(2)
    (folder / "list.txt").write_text("view_03.png\n")
    with pytest.raises(DamagedPhotoError, match=r"it is a test photo"):
        check_test_photos(scene, scene.split(test_list=folder / "list.txt"), 2)
