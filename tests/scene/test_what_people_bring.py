"""Folders as other programs and other computers leave them: they open, or the advice opens them."""

import json
import unicodedata

import numpy as np
import pytest

from tests import builders
from tests.scene import test_metashape, test_nerfstudio, test_openmvs
from tests.scene.programs import write_labelled_cameras
from xscale.errors import SceneError, UnsafePathError
from xscale.io.mesh.ply import encode_ply
from xscale.scene.layouts.labels import join_labels
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=3)


@pytest.fixture(scope="module")
def many():
    return builders.asymmetric_scene(photos=22, width=56, height=32)


def _photos(built, folder, names=None):
    for name in built.cameras:
        builders.save_photo(folder / (names or {}).get(name, name), built.photo(name))


def _mesh(built, root):
    (root / "mesh.ply").write_bytes(encode_ply(built.vertices, built.faces))
    return root


@pytest.mark.parametrize("layout", ["metashape", "realitycapture", "bundler", "nerfstudio"])
def test_one_missing_photo_in_twenty_is_left_out_by_every_layout(many, tmp_path, layout):
    _photos(many, tmp_path / "images")
    _mesh(many, tmp_path)
    write_labelled_cameras(many, tmp_path, layout)
    (tmp_path / "images" / "view_05.png").unlink()
    scene = Scene.open(tmp_path)
    assert len(scene.photos) == 21
    assert len(scene.missing) == 1
    assert any(line.startswith("W-PHOTO-MISSING: 1 of 22") for line in scene.warnings)


LABELS = {
    "case": ("DJI_0001.JPG", "dji_0001.jpg"),
    "case of the ending only": ("DJI_0001.JPG", "DJI_0001.jpg"),
    "decomposed": (unicodedata.normalize("NFD", "Küche_1.jpg"), "Küche_1.jpg"),
    "decomposed without ending": (unicodedata.normalize("NFD", "Küche_1"), "KÜCHE_1.JPG"),
    "windows path": ("C:\\Users\\me\\flight 1\\DJI_0001.JPG", "DJI_0001.JPG"),
    "absolute path": ("/Volumes/drone/flight/DJI_0001.JPG", "flight/DJI_0001.JPG"),
    "path from elsewhere": ("../photos/DJI_0001.JPG", "DJI_0001.JPG"),
    "raw ending": ("DSC_0001.NEF", "DSC_0001.jpg"),
    "raw ending in lower case": ("img_7.cr3", "IMG_7.TIF"),
    "share": ("\\\\server\\share\\a.ARW", "a.png"),
    "dots belong to the name": ("scan.001", "scan.001.jpg"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_label_finds_its_photo(tmp_path, kind):
    label, name = LABELS[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "another.jpg").touch()
    joined = join_labels([label], tmp_path, "cameras.xml")
    assert joined.names == [name]
    assert joined.found == [True]


def test_labels_of_one_name_are_told_apart_by_their_folders(tmp_path):
    names = [f"{folder}/DJI_0001.JPG" for folder in ("100MEDIA", "101MEDIA", "x/101MEDIA")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    labels = ["D:\\a\\100media\\DJI_0001.JPG", "D:\\a\\101MEDIA\\DJI_0001.JPG"]
    assert join_labels(labels, tmp_path, "").names == names[:2]
    assert join_labels(["/y/x/101MEDIA/DJI_0001"], tmp_path, "").names == names[2:]
    with pytest.raises(SceneError, match="could be"):
        join_labels(["DJI_0001"], tmp_path, "")
    # One of two is missing: the other keeps the photo that is its own.
    (tmp_path / names[0]).unlink()
    (tmp_path / names[2]).unlink()
    joined = join_labels(labels, tmp_path, "")
    assert joined.found == [False, True]


def test_two_kinds_of_one_photo_are_told_apart_by_the_advised_option(small, tmp_path):
    _photos(small, tmp_path / "images")
    _mesh(small, tmp_path)
    write_labelled_cameras(small, tmp_path, "metashape")
    for name in small.cameras:
        builders.save_photo(tmp_path / "images" / name.replace("png", "tif"), small.photo(name))
    with pytest.raises(SceneError, match=r"view_00.png.*kinds of photos in a folder.*--images"):
        Scene.open(tmp_path)
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in (tmp_path / "images").glob("*.tif"):
        file.rename(kept / file.name)
    assert len(Scene.open(tmp_path, images=kept).photos) == 3


def test_groups_of_metashape_are_folders(small, tmp_path):
    names = {name: f"10{k}MEDIA/DJI_0001.png" for k, name in enumerate(small.cameras)}
    _photos(small, tmp_path / "images", names)
    _mesh(small, tmp_path)
    cameras = ""
    for k, (name, camera) in enumerate(small.cameras.items()):
        one = test_metashape.camera_xml(k, name, camera, label="DJI_0001")
        cameras += f'<group id="{k}" label="10{k}MEDIA" type="folder">{one}</group>'
    (tmp_path / "cameras.xml").write_text(test_metashape.export(small, cameras=cameras))
    scene = Scene.open(tmp_path)
    for name, photo in zip(small.cameras, scene.photos, strict=True):
        assert photo.name == names[name]
        np.testing.assert_allclose(photo.camera.t, small.cameras[name].t, atol=1e-12)


@pytest.mark.parametrize("given", ["C:\\me\\images\\{}", "/Volumes/drone/images/{}", "../x/{}"])
@pytest.mark.parametrize("layout", ["nerfstudio", "openmvs"])
def test_paths_of_another_computer_open_with_the_advised_option(small, tmp_path, layout, given):
    _photos(small, tmp_path / "photos")
    _mesh(small, tmp_path)
    if layout == "openmvs":
        (tmp_path / "scene.mvs").write_bytes(test_openmvs.scene_mvs(small, name=given))
    else:
        content = test_nerfstudio.transforms(small)
        for frame, name in zip(content["frames"], small.cameras, strict=True):
            frame["file_path"] = given.format(name)
            frame["mask_path"] = given.format(name).replace("images", "masks")
        mask = np.full((64, 112), 255, np.uint8)
        for name in small.cameras:
            builders.save_photo(tmp_path / "masks" / name, mask)
        (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(UnsafePathError, match="--images"):
        Scene.open(tmp_path)
    scene = Scene.open(tmp_path, images=tmp_path / "photos")
    assert [photo.name for photo in scene.photos] == list(small.cameras)


def test_photos_in_another_folder_are_found_by_the_advice(small, tmp_path):
    builders.write_colmap(small, tmp_path)
    (tmp_path / "images").rename(tmp_path / "undistorted")
    (tmp_path / "images").mkdir()
    with pytest.raises(SceneError, match=f"add --images {tmp_path / 'undistorted'}$"):
        Scene.open(tmp_path)
    assert len(Scene.open(tmp_path, images=tmp_path / "undistorted").photos) == 3


def test_mesh_of_another_name_or_kind_is_named(small, tmp_path):
    builders.write_colmap(small, tmp_path)
    (tmp_path / "mesh.ply").rename(tmp_path / "model final.ply")
    with pytest.raises(SceneError, match=r"it holds model final.ply; .*--mesh .*model final.ply"):
        Scene.open(tmp_path)
    assert Scene.open(tmp_path, mesh=tmp_path / "model final.ply").mesh is not None
    (tmp_path / "model final.ply").rename(tmp_path / "mesh.fbx")
    with pytest.raises(SceneError, match=r"it holds mesh.fbx, a kind that is not read; export"):
        Scene.open(tmp_path)


@pytest.mark.parametrize(
    "name", ["view_00.jpg", "view_00.PNG", "view_00.tif", "VIEW_00.png", "view_00_mask.png",
             "view_00.png.jpg", "view_00.webp"],
)  # fmt: skip
def test_masks_are_used_whatever_their_ending(small, tmp_path, name):
    builders.write_colmap(small, tmp_path)
    builders.save_photo(tmp_path / "masks" / name, builders.half_masked())
    scene = Scene.open(tmp_path)
    mask = scene.photo("view_00.png").read_mask()
    assert not mask[:24].any()
    assert mask[40:].all()
    assert not [line for line in scene.warnings if line.startswith("W-MASK-UNUSED")]


def test_masks_that_are_not_read_are_reported(small, tmp_path):
    builders.write_colmap(small, tmp_path)
    builders.save_photo(tmp_path / "masks" / "view_00.bmp", np.zeros((64, 112), np.uint8))
    (line,) = [x for x in Scene.open(tmp_path).warnings if x.startswith("W-MASK-UNUSED")]
    assert "view_00.bmp" in line
