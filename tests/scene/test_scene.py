"""Opening a folder: what it is, whether its parts fit, and what it says when they do not."""

import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import xscale
from tests import builders
from xscale.errors import CameraError, ListError, MaskError, MeshError, PhotoError, SceneError
from xscale.geometry.mesh import Mesh
from xscale.io.mesh.ply import encode_ply
from xscale.io.photo.resample import area_downscale
from xscale.scene.checks import plausibility as check
from xscale.scene.scene import Scene


def _resize(path, width, height):
    Image.open(path).resize((width, height)).save(path)


def test_scene_has_photos_by_name_cameras_mesh_and_points(asymmetric, asymmetric_folder):
    scene = xscale.Scene.open(asymmetric_folder)
    assert scene.layout == "colmap"
    assert scene.reason == "sparse/0/cameras.bin and images/ found"
    assert [p.name for p in scene.photos] == sorted(asymmetric.cameras)
    assert scene.warnings == ()
    assert scene.points.shape == (120, 3)
    np.testing.assert_allclose(scene.mesh.vertices + scene.origin, asymmetric.vertices, atol=1e-6)
    with pytest.raises(SceneError, match="no photo x"):
        scene.photo("x")


def test_photos_show_what_their_cameras_see(asymmetric, asymmetric_folder):
    # Independent of the renderer's pixels: project texture corners and look for the letter.
    scene = Scene.open(asymmetric_folder)
    for photo in scene.photos:
        picture = photo.read()
        # Middle of the F's stem (mirrored: column 5 of 7, row 3) and of the ground beside it.
        stem = np.array([[(5.5 / 7 - 0.5) * 3, (0.5 - 3.5 / 7) * 2, 0]])
        ground = np.array([[(1.5 / 7 - 0.5) * 3, (0.5 - 3.5 / 7) * 2, 0]])
        for point, yellow in ((stem, True), (ground, False)):
            u, v = photo.camera.project(point)[0][0]
            r, g, b = picture[int(v), int(u)].astype(int)
            assert bool(r > 200 and g > 200 and b < 80) is yellow


def test_near_plane_is_a_ten_thousandth_of_the_median_distance(asymmetric, asymmetric_folder):
    scene = Scene.open(asymmetric_folder)
    distances = [np.linalg.norm(c.position - scene.origin) for c in asymmetric.cameras.values()]
    for photo in scene.photos:
        assert photo.camera.near == pytest.approx(1e-4 * np.median(distances))


def test_reading_reduces_pixels_and_camera_together(asymmetric_folder):
    photo = Scene.open(asymmetric_folder).photos[2]
    assert photo.size(3) == (37, 21)
    camera = photo.camera_at(3)
    assert (camera.width, camera.height) == (37, 21)
    assert camera.fx == pytest.approx(95 * 37 / 112)
    assert camera.cy == pytest.approx(36.5 * 21 / 64)
    np.testing.assert_array_equal(photo.read(3), area_downscale(photo.read(), 37, 21))
    assert photo.read_mask() is None


def test_georeferenced_scene_keeps_its_pixels(asymmetric, tmp_path):
    far = asymmetric.moved((5e6, -4e6, 300.0))
    scene = Scene.open(builders.write_colmap(far, tmp_path / "far"))
    np.testing.assert_allclose(scene.origin[:2], (5e6, -4e6))
    for photo in scene.photos:
        local = photo.camera.recentred(scene.origin)
        pixels, _ = local.project(scene.mesh.vertices)
        truth, _ = asymmetric.cameras[photo.name].project(asymmetric.vertices)
        np.testing.assert_allclose(pixels, truth, atol=1e-4)


def test_photo_of_another_size_and_same_ratio_rescales_k_and_says_so(asymmetric_folder):
    for path in (asymmetric_folder / "images").iterdir():
        _resize(path, 56, 32)
    scene = Scene.open(asymmetric_folder)
    assert scene.warnings[0].startswith("W-PHOTO-SIZE: 6 photos")
    assert scene.photos[0].camera.fx == pytest.approx(95 / 2)
    assert scene.photos[0].camera.cy == pytest.approx(36.5 / 2)
    (pixels, points) = scene.sparse_observations()["view_00.png"]
    np.testing.assert_allclose(scene.photos[0].camera.project(points)[0], pixels, atol=1e-9)


def test_keypoints_and_cameras_count_pixels_from_the_same_place(asymmetric_folder):
    for origin in ("corner", "center"):
        scene = Scene.open(asymmetric_folder, pixel_origin=origin)
        pixels, points = scene.sparse_observations()["view_00.png"]
        np.testing.assert_allclose(scene.photos[0].camera.project(points)[0], pixels, atol=1e-9)


def test_photo_of_another_ratio_stops_with_both_sizes(asymmetric_folder):
    _resize(asymmetric_folder / "images" / "view_03.png", 112, 66)
    with pytest.raises(CameraError, match=r"view_03.png: the photo is 112 x 66, its camera 112 x"):
        Scene.open(asymmetric_folder, on_bad_photo="stop")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_photo_that_fits_its_camera_only_turned_is_turned(asymmetric_folder, orientation):
    path = asymmetric_folder / "images" / "view_03.png"
    truth = np.array(Image.open(path))
    undo = {5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).transpose(Image.Transpose[undo]).save(path, exif=exif)
    scene = Scene.open(asymmetric_folder)
    assert any(line.startswith("W-PHOTO-TURNED: 1 photos") for line in scene.warnings)
    np.testing.assert_array_equal(scene.photo("view_03.png").read(), truth)


def test_photo_of_the_turned_size_without_exif_stops(asymmetric_folder):
    path = asymmetric_folder / "images" / "view_03.png"
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    with pytest.raises(CameraError, match="the photo is 64 x 112, its camera 112 x 64"):
        Scene.open(asymmetric_folder, on_bad_photo="stop")


def test_missing_photos_are_counted_and_three_named(asymmetric_folder):
    for k in (0, 2, 3, 5):
        (asymmetric_folder / "images" / f"view_{k:02d}.png").unlink()
    words = r"4 of 6 photos .* missing: view_00.png, view_02.png, view_03.png and 1 more"
    with pytest.raises(SceneError, match=words):
        Scene.open(asymmetric_folder)


def test_few_missing_photos_are_left_out_and_named_but_never_test_photos(tmp_path):
    built = builders.asymmetric_scene(photos=24)
    folder = builders.write_colmap(built, tmp_path / "s")
    whole = Scene.open(folder).split()
    assert whole.test == tuple(f"view_{k:02d}.png" for k in (0, 7, 14, 21))
    (folder / "images" / "view_08.png").unlink()
    scene = Scene.open(folder)
    words = "W-PHOTO-MISSING: 1 of 24 photos with a camera are missing: view_08.png; they are left"
    assert scene.warnings[0].startswith(words)
    assert len(scene.photos) == 23
    split = scene.split()
    assert split.test == whole.test
    assert split.train == tuple(n for n in whole.train if n != "view_08.png")
    assert "view_08.png" not in scene.sparse_observations()
    (folder / "images" / "view_08.png").write_bytes((folder / "images/view_07.png").read_bytes())
    (folder / "images" / "view_07.png").unlink()
    with pytest.raises(ListError, match=r"1 test photos are missing: view_07.png; a score over"):
        Scene.open(folder).split()
    (tmp_path / "list.txt").write_text("view_01.png\n")
    assert Scene.open(folder).split(test_list=tmp_path / "list.txt").test == ("view_01.png",)


def test_photo_without_camera_is_remarked(asymmetric_folder):
    images = asymmetric_folder / "images"
    shutil.copy(images / "view_00.png", images / "extra.png")
    assert "W-PHOTO-NO-CAMERA: 1 photos" in Scene.open(asymmetric_folder).warnings[0]


def test_text_in_the_place_of_a_photo_is_named(asymmetric_folder):
    (asymmetric_folder / "images" / "view_03.png").write_text("not found")
    with pytest.raises(PhotoError, match=r"view_03.png: is not a picture"):
        Scene.open(asymmetric_folder, on_bad_photo="stop")


@pytest.fixture
def jpeg_folder(asymmetric, tmp_path):
    cameras = {n.replace(".png", ".jpg"): c for n, c in asymmetric.cameras.items()}
    return builders.write_colmap(replace(asymmetric, cameras=cameras), tmp_path / "jpeg")


def test_cut_jpeg_stops_and_jpeg_with_a_film_behind_it_is_remarked(jpeg_folder):
    path = jpeg_folder / "images" / "view_02.jpg"
    data = path.read_bytes()
    path.write_bytes(data + b"\0" * 70_000)
    assert Scene.open(jpeg_folder).warnings[0].startswith("W-PHOTO-TAIL")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(PhotoError, match=r"view_02.jpg: is cut off"):
        Scene.open(jpeg_folder, on_bad_photo="stop")


def test_photos_whose_renders_would_collide_are_refused(asymmetric, tmp_path):
    names = dict(zip(("a.png", "a.jpg", "b.png"), asymmetric.cameras.values(), strict=False))
    folder = builders.write_colmap(replace(asymmetric, cameras=names), tmp_path / "s")
    with pytest.raises(SceneError, match=r"a.jpg and a.png would both be rendered to a.png"):
        Scene.open(folder)


def test_names_with_folders_dots_and_odd_letters_work(asymmetric, tmp_path):
    odd = ("left/a.b.png", "left/a.c.png", "right/a.b.png", "zürich 1\t;'.png")
    names = dict(zip(odd, asymmetric.cameras.values(), strict=False))
    scene = Scene.open(builders.write_colmap(replace(asymmetric, cameras=names), tmp_path / "s"))
    assert [p.name for p in scene.photos] == sorted(odd, key=os.fsencode)
    assert scene.photos[1].png_name == "left/a.c.png"
    assert scene.photos[0].read().shape == (64, 112, 3)


@pytest.mark.parametrize("mask_name", ["view_01.png", "view_01.jpg.png"])
def test_mask_files_are_found_and_reduced(jpeg_folder, mask_name):
    mask = np.full((64, 112), 255, np.uint8)
    mask[:, :57] = 0
    builders.save_photo(jpeg_folder / "masks" / mask_name, mask)
    photo = Scene.open(jpeg_folder).photo("view_01.jpg")
    np.testing.assert_array_equal(photo.read_mask(), mask > 0)
    # Column 28 of the half picture covers columns 56 (left out) and 57 (kept): left out.
    assert photo.read_mask(2)[0].tolist() == [False] * 29 + [True] * 27
    assert Scene.open(jpeg_folder).photo("view_00.jpg").read_mask() is None


def test_mask_of_another_size_is_refused(asymmetric_folder):
    builders.save_photo(asymmetric_folder / "masks" / "view_01.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(MaskError, match="is 5 x 5, its photo is 112 x 64"):
        Scene.open(asymmetric_folder)


def test_alpha_is_a_mask_and_meets_the_mask_file(asymmetric_folder):
    path = asymmetric_folder / "images" / "view_01.png"
    alpha = np.full((64, 112), 255, np.uint8)
    alpha[:10] = 0
    mask = np.full((64, 112), 255, np.uint8)
    mask[-10:] = 0
    rgb = np.asarray(Image.open(path))
    Image.fromarray(np.dstack([rgb, alpha])).save(path)
    builders.save_photo(asymmetric_folder / "masks" / "view_01.png", mask)
    photo = Scene.open(asymmetric_folder).photo("view_01.png")
    np.testing.assert_array_equal(photo.read(), rgb)
    assert photo.read_mask().sum() == 44 * 112
    np.testing.assert_array_equal(photo.load()[1], photo.read_mask())


def test_missing_several_and_given_meshes(asymmetric, asymmetric_folder, tmp_path):
    mesh = asymmetric_folder / "mesh.ply"
    shutil.copy(mesh, asymmetric_folder / "mesh.obj")
    with pytest.raises(SceneError, match=r"several meshes: mesh.obj, mesh.ply; choose one by --me"):
        Scene.open(asymmetric_folder)
    assert Scene.open(asymmetric_folder, mesh=mesh).mesh_path == mesh
    (asymmetric_folder / "mesh.obj").unlink()
    mesh.rename(tmp_path / "other.ply")
    with pytest.raises(SceneError, match=r"has no mesh.ply"):
        Scene.open(asymmetric_folder)
    assert len(Scene.open(asymmetric_folder, mesh=tmp_path / "other.ply").mesh.faces) == 3
    with pytest.raises(MeshError, match="no such mesh"):
        Scene.open(asymmetric_folder, mesh=tmp_path / "none.ply")


def test_mesh_without_area_is_refused(asymmetric, asymmetric_folder):
    flat = np.zeros_like(asymmetric.vertices)
    (asymmetric_folder / "mesh.ply").write_bytes(encode_ply(flat, asymmetric.faces))
    with pytest.raises(MeshError, match="none of the 3 faces has an area"):
        Scene.open(asymmetric_folder)


@pytest.mark.parametrize("change", ["scale", "shift", "behind"])
def test_mesh_outside_every_picture_stops_with_both_boxes(asymmetric, asymmetric_folder, change):
    (asymmetric_folder / "sparse" / "0" / "points3D.bin").unlink()
    moved = {
        "scale": asymmetric.vertices * 1e-3,
        "shift": asymmetric.vertices + 1000,
        "behind": asymmetric.vertices + np.array([0, 0, 20]),
    }[change]
    (asymmetric_folder / "mesh.ply").write_bytes(encode_ply(moved, asymmetric.faces))
    with pytest.raises(SceneError, match=r"cameras and mesh do not meet: .* cameras stand in \("):
        Scene.open(asymmetric_folder)


def test_sparse_points_far_from_the_mesh_stop(asymmetric, asymmetric_folder):
    far = encode_ply(asymmetric.vertices + 1000, asymmetric.faces)
    (asymmetric_folder / "mesh.ply").write_bytes(far)
    with pytest.raises(SceneError, match="sparse points and mesh do not meet"):
        Scene.open(asymmetric_folder)


def test_close_up_inside_one_triangle_meets_the_mesh(asymmetric):
    # No vertex is in the picture, yet all of it is covered.
    R, t = builders.look_at((-0.7, 0.1, 0.05), (-0.7, 0.1, 0), (0, -1, 0))
    camera = replace(asymmetric.cameras["view_00.png"], R=R, t=t)
    mesh = Mesh.from_world(asymmetric.vertices, asymmetric.faces)
    check.check_views([camera], mesh, "scene")
    R, t = builders.look_at((-0.7, 0.1, 0.05), (-0.7, 0.1, 1), (0, -1, 0))
    with pytest.raises(SceneError, match="do not meet"):
        check.check_views([replace(camera, R=R, t=t)], mesh, "scene")


def test_odd_calibration_is_remarked(asymmetric):
    camera = asymmetric.cameras["view_00.png"]
    K = np.array(camera.K)
    K[0, 2] = -500
    scene_photo = type("P", (), {"camera": replace(camera, K=K), "name": "a.png"})()
    assert check.check_cameras([scene_photo])[0].startswith("W-CAMERA-ODD")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.write_bytes(b"PK\3\4"), "a scene is a folder"),
        (lambda p: p.mkdir(), "it holds nothing"),
        (lambda p: (p / "photos").mkdir(parents=True), r"it holds photos/; expected: colmap"),
    ],
)
def test_what_is_no_scene_is_said(tmp_path, make, words):
    make(tmp_path / "x")
    with pytest.raises(SceneError, match=words):
        Scene.open(tmp_path / "x")


def test_fingerprint_sees_cameras_photos_and_mesh_but_not_the_place(
    asymmetric, asymmetric_folder, tmp_path
):
    first = Scene.open(asymmetric_folder).fingerprint()
    copy = shutil.copytree(asymmetric_folder, tmp_path / "copy")
    assert Scene.open(copy).fingerprint() == first
    (copy / "mesh.ply").write_bytes(encode_ply(asymmetric.vertices * 1.0001, asymmetric.faces))
    assert Scene.open(copy).fingerprint() != first
    shutil.copy(asymmetric_folder / "mesh.ply", copy / "mesh.ply")
    with (copy / "images" / "view_00.png").open("ab") as file:
        file.write(b"\0")
    assert Scene.open(copy).fingerprint() != first


def test_opening_decodes_no_photo(asymmetric_folder, monkeypatch):
    def refuse(*_, **options):
        raise AssertionError("a photo was decoded")

    monkeypatch.setattr("xscale.scene.photo.read_pixels_safely", refuse)
    monkeypatch.setattr("xscale.scene.posed.read_pixels", refuse)
    begin = time.perf_counter()
    Scene.open(asymmetric_folder).split()
    assert time.perf_counter() - begin < 5


def test_photo_that_changed_size_after_opening_is_named(asymmetric_folder):
    photo = Scene.open(asymmetric_folder).photos[0]
    _resize(photo.path, 56, 32)
    with pytest.raises(PhotoError, match=r"has \d+ bytes now and had \d+ when"):
        photo.read()


def test_folder_without_photos_says_what_it_holds(asymmetric_folder):
    images = asymmetric_folder / "images"
    for path in sorted(images.iterdir()):
        path.rename(path.with_suffix(".HEIC"))
    (images / "notes.txt").write_text("")
    with pytest.raises(SceneError, match=r"6 of 6 .*; it holds files of 6 .heic, 1 .txt"):
        Scene.open(asymmetric_folder)
    for path in images.iterdir():
        path.unlink()
    with pytest.raises(SceneError, match=r"missing: .*; it holds nothing"):
        Scene.open(asymmetric_folder)


def test_one_photo_alone_cannot_be_split(asymmetric, tmp_path):
    name = next(iter(asymmetric.cameras))
    alone = replace(asymmetric, cameras={name: asymmetric.cameras[name]})
    scene = Scene.open(builders.write_colmap(alone, tmp_path / "scene"))
    with pytest.raises(ListError, match="1 photo"):
        scene.split()
