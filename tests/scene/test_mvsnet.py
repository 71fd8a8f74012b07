import numpy as np
import pytest

from tests import builders
from xscale.errors import CameraError, SceneError
from xscale.scene.layouts import mvsnet
from xscale.scene.scene import Scene


@pytest.fixture(scope="module")
def small():
    return builders.asymmetric_scene(photos=4)


@pytest.fixture
def folder(small, tmp_path):
    builders.write_mvsnet(small, tmp_path / "s", k=4)
    return builders.write_mvsnet(small, tmp_path / "s", k=2)


def test_largest_photos_are_read_unless_another_size_is_named(small, folder):
    scene = Scene.open(folder)
    assert scene.layout == "mvsnet"
    assert scene.reason == "cams_2/*_cam.txt and images_2/ found"
    assert scene.photos[0].size() == (56, 32)
    assert scene.warnings == ("W-LAYOUT-SCALE: images_2 is used, not images_4",)
    for photo in scene.photos:
        truth = small.cameras[photo.name].downscaled(2)
        np.testing.assert_allclose(photo.camera.K, truth.K, atol=1e-12)
        np.testing.assert_allclose(photo.camera.R, truth.R, atol=1e-12)
    for path, scale in ((folder / "images_4", None), (folder / "cams_4", None), (folder, 4)):
        assert Scene.open(path, layout_scale=scale).photos[0].size() == (28, 16)
    with pytest.raises(SceneError, match="images_8"):
        Scene.open(folder, layout_scale=8)


def test_pixels_that_count_from_the_centre_are_shifted_by_a_half(folder):
    corner, centre = Scene.open(folder), Scene.open(folder, pixel_origin="center")
    shift = centre.photos[0].camera.K - corner.photos[0].camera.K
    np.testing.assert_allclose(shift, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-12)


def test_skew_is_kept_and_scale_of_k_divided_out(folder):
    path = next((folder / "cams_2").iterdir())
    text = path.read_text().split("intrinsic")[0] + "intrinsic\n80 3 40 0 60 30 0 0 2\n"
    path.write_text(text)
    K, _, _ = mvsnet.read_camera(path)
    assert K.tolist() == [[40, 1.5, 20], [0, 30, 15], [0, 0, 1]]


def test_photos_are_joined_by_name_and_missing_ones_listed(folder):
    (folder / "images_2" / "view_01.png").unlink()
    with pytest.raises(SceneError, match=r"1 of 4 cameras have no photo: view_01"):
        Scene.open(folder)


def test_most_photos_without_camera_stop(folder):
    (folder / "cams_2" / "view_01_cam.txt").unlink()
    with pytest.raises(SceneError, match=r"only 75% .* view_01"):
        Scene.open(folder)


def test_two_photos_for_one_camera_stop(folder):
    builders.save_photo(folder / "images_2" / "view_01.jpg", np.zeros((32, 56, 3), np.uint8))
    with pytest.raises(SceneError, match=r"view_01.jpg and view_01.png could both"):
        Scene.open(folder)


GOOD = "extrinsic\n1 0 0 .5\n0 1 0 2\n0 0 1 3\n0 0 0 1\n\nintrinsic\n50 0 9\n0 40 8\n0 0 1\n"


@pytest.mark.parametrize("tail", ["", "\n1 2\n", "\n1 2 3\n", "1 2 3 4"])
def test_layout_of_lines_and_depths_does_not_matter(tmp_path, tail):
    path = tmp_path / "a_cam.txt"
    path.write_text(GOOD.replace("\n", "\r\n \t ") + tail)
    K, R, t = mvsnet.read_camera(path)
    assert K.tolist() == [[50, 0, 9], [0, 40, 8], [0, 0, 1]]
    assert R.tolist() == np.eye(3).tolist()
    assert t.tolist() == [0.5, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0 0 0 1\n", "", "extrinsic has 12 numbers, needs 16"),
        ("0 40 8\n", "0 40\n", "intrinsic has 8 numbers, needs 9"),
        ("0 0 0 1\n", "0 0 0 2\n", "last row"),
        ("0 0 1 3\n", "0 0 -1 3\n", "mirrors"),
        ("0 0 1 3\n", "0 0 nan 3\n", r"_cam.txt:4: 'nan'"),
        ("0 40 8\n", "7 40 8\n", "intrinsic is not"),
        ("0 0 1\n", "0 0 0\n", "intrinsic is not|has 9"),
        ("extrinsic", "", "begins with"),
        ("1 0 0 .5", "1.01 0 0 .5", "orthonormal"),
    ],
)
def test_damaged_camera_is_named(tmp_path, old, new, words):
    path = tmp_path / "a_cam.txt"
    place = GOOD.rindex(old)
    path.write_text(GOOD[:place] + new + GOOD[place + len(old) :])
    with pytest.raises(CameraError, match=words):
        mvsnet.read_camera(path)


def test_every_prefix_inside_the_matrices_is_refused(tmp_path):
    path = tmp_path / "a_cam.txt"
    for length in range(len(GOOD.rstrip())):
        path.write_text(GOOD[:length])
        with pytest.raises(CameraError):
            mvsnet.read_camera(path)
